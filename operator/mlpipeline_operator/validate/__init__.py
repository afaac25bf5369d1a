"""From wire objects to frozen, fully named values: pure, and a ``SpecError`` is all that it raises.

The API server has checked the schema and the CEL rules already; what they cannot say is checked here.
"""

from mlpipeline_operator.validate.airflow import is_external, validate_airflow, validate_external_airflow
from mlpipeline_operator.validate.pipeline import validate_pipeline
from mlpipeline_operator.validate.references import referenced_config_maps
from mlpipeline_operator.validate.run import validate_run
from mlpipeline_operator.validate.scalars import canonical, canonical_parameters

__all__ = [
    "canonical",
    "canonical_parameters",
    "is_external",
    "referenced_config_maps",
    "validate_airflow",
    "validate_external_airflow",
    "validate_pipeline",
    "validate_run",
]
