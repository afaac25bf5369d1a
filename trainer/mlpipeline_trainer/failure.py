"""From an exception to its true cause in one line: type, message, and the user's innermost file and line."""

from __future__ import annotations

import linecache
import re
import sys
import sysconfig
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import NamedTuple

from .errors import TABLE, ExitCode, Terminated, TrainerError
from .result import MESSAGE_LIMIT, Failure, shorten

_PACKAGE = Path(__file__).resolve().parent
_LIBRARIES = tuple(
    {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_FILE_LINE = re.compile(r'File "([^"]+)", line (\d+)')
# What TensorFlow wraps around the cause of an error inside a graph.
_GRAPH_NOISE = re.compile(
    r"^(Graph execution error:?|Detected at node .*|Detected at .*|<stack traces unavailable>|\s*File \".*"
    r"|\s*\[\[\{\{node .*|in user code:|Stack trace for op definition:?)\s*$"
)


def from_exception(error: BaseException, user_paths: Sequence[Path] = ()) -> Failure:
    """The failure that `error` stands for.

    Args:
        error: As caught, with its traceback.
        user_paths: Files and folders that count as the user's even where libraries are installed.
    """
    place = find_place(error, user_paths)
    code, reason, text = _classify(error, by_user=place is not None and place.users)
    if isinstance(error, TrainerError) and place and not place.users:
        place = None  # The message says it; a line of the trainer's own would only mislead.
    cause = error.__cause__
    if cause is not None and not isinstance(error, TrainerError):
        text += f"; caused by {_words(cause)}"
    where = f" ({place.path}:{place.line})" if place else ""
    message = shorten(text, MESSAGE_LIMIT - len(where.encode())) + where
    return Failure(reason=reason, message=message, exit_code=int(code), retryable=TABLE[code].retryable)


def _classify(error: BaseException, by_user: bool) -> tuple[ExitCode, str, str]:
    if isinstance(error, TrainerError):
        return error.code, error.reason, _one_line(str(error))
    if isinstance(error, Terminated):
        return ExitCode.TERMINATED, "Terminated", "terminated by SIGTERM"
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED, "Interrupted", "interrupted"
    if isinstance(error, SystemExit):
        return _classify_exit(error)
    if _is_out_of_memory(error):
        return ExitCode.OUT_OF_MEMORY, "OutOfMemory", _words(error)
    if not by_user:
        return ExitCode.INTERNAL, "Internal", _words(error)
    return ExitCode.USER_CODE, "Exception", _words(error)


def _classify_exit(error: SystemExit) -> tuple[ExitCode, str, str]:
    # argparse prints why it refuses, and raises a bare SystemExit(2): the words are in its frame.
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        if frame.f_code.co_name == "exit" and Path(frame.f_code.co_filename).name == "argparse.py":
            words = frame.f_locals.get("message")
            if error.code == ExitCode.USAGE and isinstance(words, str):
                return ExitCode.USAGE, "BadParameter", _one_line(words)
    return ExitCode.USER_CODE, "Exit", f"SystemExit: {_one_line(str(error.code))}"


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    return type(error).__name__ == "ResourceExhaustedError" and type(error).__module__.startswith(
        "tensorflow"
    )


def _words(error: BaseException) -> str:
    """`ValueError: bad lr`, in one line."""
    name = type(error).__qualname__
    if type(error).__module__ not in ("builtins", "__main__") and not type(error).__module__.startswith(
        "tensorflow"
    ):
        name = f"{type(error).__module__}.{name}"
    if isinstance(error, SyntaxError):
        return f"{name}: {error.msg}"
    # Keras repeats the arguments, whole tensors among them, after the cause.
    text = _ANSI.sub("", str(error)).partition("\nArguments received by ")[0]
    text = _one_line("\n".join(line for line in text.splitlines() if not _GRAPH_NOISE.match(line)))
    if not text and isinstance(error, AssertionError):
        text = _source_line(error)
    return f"{name}: {text}" if text else name


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _source_line(error: BaseException) -> str:
    frames = list(traceback.walk_tb(error.__traceback__))
    return linecache.getline(frames[-1][0].f_code.co_filename, frames[-1][1]).strip() if frames else ""


class Place(NamedTuple):
    """Where something was raised: path as shown, line from 1, and whether it is the user's code."""

    path: str
    line: int
    users: bool


def find_place(error: BaseException, user_paths: Sequence[Path] = ()) -> Place | None:
    """The user's innermost frame; without one the trainer's innermost; without one the innermost of all."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        path = Path(error.filename).resolve()
        return Place(_shown(path, user_paths), error.lineno, is_users(path, user_paths))
    frames = [_place(frame, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    # An error within a graph names the line that built the operation, which no frame holds any more.
    named = (
        [(Path(p).resolve(), int(n)) for p, n in _FILE_LINE.findall(str(error))] if _is_graph(error) else []
    )
    users = [p for p in frames + named if is_users(p[0], user_paths)]
    trainers = [p for p in frames if _PACKAGE in p[0].parents]
    for found in (users, trainers, frames):
        if found:
            path, line = found[-1]
            return Place(_shown(path, user_paths), line, found is users)
    return None


def _is_graph(error: BaseException) -> bool:
    return type(error).__module__.startswith("tensorflow") or "in user code:" in str(error)


def _place(frame: FrameType, line: int) -> tuple[Path, int]:
    name = frame.f_code.co_filename
    return (Path(name) if name.startswith("<") else Path(name).resolve()), line


def is_users(path: Path, user_paths: Sequence[Path] = ()) -> bool:
    """Whether a source file is the user's own: neither the trainer's, nor a library's, nor generated."""
    if any(path == p or p in path.parents for p in user_paths):
        return True
    if str(path).startswith("<") or "__autograph_generated_file" in path.name:
        return False
    return not any(p in path.parents for p in (_PACKAGE, *_LIBRARIES)) and "site-packages" not in path.parts


def _shown(path: Path, user_paths: Sequence[Path]) -> str:
    """A path short enough to read: below the working directory, the user's folder or the package."""
    folders = [Path.cwd(), *(p if p.is_dir() else p.parent for p in user_paths), _PACKAGE.parent]
    for folder in folders:
        if folder in path.parents:
            return str(path.relative_to(folder))
    return str(path)


def print_traceback(error: BaseException, user_paths: Sequence[Path] = ()) -> None:
    """Prints the traceback as Python does, to standard error, from the user's first frame on.

    None for an error that says all by its message, nor for an exit.
    """
    if isinstance(error, TrainerError | SystemExit | Terminated | KeyboardInterrupt):
        return
    start: TracebackType | None = error.__traceback__
    while start is not None and not is_users(_place(start.tb_frame, start.tb_lineno)[0], user_paths):
        start = start.tb_next
    shown = error.with_traceback(start or error.__traceback__)
    traceback.print_exception(shown, file=sys.stderr)
    sys.stderr.flush()
