"""What can go wrong, and the exit code and reason that say so.

The exit codes are part of the contract with whatever started the process; `TABLE` lists them all.
"""

from __future__ import annotations

import enum
from typing import NamedTuple


class ExitCode(enum.IntEnum):
    """Exit codes of `python -m mlpipeline_trainer`; each has a row in `TABLE`."""

    OK = 0
    USER_CODE = 1
    USAGE = 2
    DATA = 3
    MODEL = 4
    NOT_FINITE = 5
    NO_GPU = 6
    OUT_OF_MEMORY = 7
    SOURCE = 8
    REQUIREMENTS = 9
    INTERNAL = 70
    INTERRUPTED = 130
    TERMINATED = 143


class Row(NamedTuple):
    """What an exit code means, the reasons that go with it, whether another attempt may end differently."""

    reasons: tuple[str, ...]
    retryable: bool
    meaning: str


TABLE: dict[ExitCode, Row] = {
    ExitCode.OK: Row((), False, "training finished, and the model, if any, is in its place"),
    ExitCode.USER_CODE: Row(
        ("Exception", "Exit"), True, "the user's code raised, or exited with a non-zero status"
    ),
    ExitCode.USAGE: Row(
        ("Usage", "BadParameter", "BadEntrypoint"),
        False,
        "wrong setting, parameter or entrypoint; nothing was trained",
    ),
    ExitCode.DATA: Row(("DataError",), True, "data missing, unreadable or malformed"),
    ExitCode.MODEL: Row(("ModelError",), True, "the model could not be saved or uploaded"),
    ExitCode.NOT_FINITE: Row(("NaN",), False, "the loss became NaN or infinite, so training was stopped"),
    ExitCode.NO_GPU: Row(("NoGPU",), False, "a GPU was asked for and TensorFlow sees none"),
    ExitCode.OUT_OF_MEMORY: Row(("OutOfMemory",), False, "Python or the GPU ran out of memory"),
    ExitCode.SOURCE: Row(("SourceError",), True, "the code could not be fetched from Git"),
    ExitCode.REQUIREMENTS: Row(("RequirementsError",), True, "pip could not install the requirements"),
    ExitCode.INTERNAL: Row(("Internal",), True, "an error in the trainer itself"),
    ExitCode.INTERRUPTED: Row(("Interrupted",), True, "SIGINT (Ctrl-C)"),
    ExitCode.TERMINATED: Row(("Terminated",), True, "SIGTERM: evicted, cancelled, or past its deadline"),
}


class TrainerError(Exception):
    """An error whose cause the trainer knows; carries the exit code and the machine-readable reason.

    Attributes:
        code: The process's exit status.
        reason: CamelCase word for `failure.reason`.
    """

    code: ExitCode = ExitCode.INTERNAL
    reason: str = "Internal"


class UsageError(TrainerError):
    """A setting (environment variable or option) is wrong or missing."""

    code = ExitCode.USAGE
    reason = "Usage"


class ParameterError(UsageError):
    """A parameter is unknown, has the wrong type, or is out of range."""

    reason = "BadParameter"


class EntrypointError(UsageError):
    """The entrypoint cannot be found or called."""

    reason = "BadEntrypoint"


class DataError(TrainerError):
    """The data cannot be found, read or understood."""

    code = ExitCode.DATA
    reason = "DataError"


class ModelError(TrainerError):
    """The model cannot be saved or put in its place."""

    code = ExitCode.MODEL
    reason = "ModelError"


class NotFiniteError(TrainerError):
    """The loss is NaN or infinite; going on would train nothing."""

    code = ExitCode.NOT_FINITE
    reason = "NaN"


class NoGPUError(TrainerError):
    """A GPU was asked for and TensorFlow sees none."""

    code = ExitCode.NO_GPU
    reason = "NoGPU"


class SourceError(TrainerError):
    """The code cannot be fetched."""

    code = ExitCode.SOURCE
    reason = "SourceError"


class RequirementsError(TrainerError):
    """pip cannot install what the code needs."""

    code = ExitCode.REQUIREMENTS
    reason = "RequirementsError"


class Terminated(BaseException):
    """SIGTERM arrived. A `BaseException`, so that a user's `except Exception` does not swallow it."""


def describe_exit_codes() -> str:
    """The table of exit codes as plain text, one line each, for `--help`."""
    rows = []
    for code, row in TABLE.items():
        reasons = ", ".join(row.reasons) or "-"
        retry = "retry may help" if row.retryable else ""
        rows.append(f"  {int(code):>3}  {reasons:<36} {row.meaning}{f' ({retry})' if retry else ''}")
    return "\n".join(rows)
