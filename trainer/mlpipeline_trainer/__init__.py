"""Runs TensorFlow/Keras training: parameters from the environment, metrics, model and failures to files.

Importing this package imports nothing but the standard library.
"""

from .context import Context, current, report
from .errors import DataError, ExitCode, ModelError, NotFiniteError, ParameterError, TrainerError

__version__ = "0.1.0"
__all__ = [
    "Context",
    "DataError",
    "ExitCode",
    "ModelError",
    "NotFiniteError",
    "ParameterError",
    "TrainerError",
    "__version__",
    "current",
    "report",
]
