"""The user's code: a function `module:function`, or a script."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import inspect
import os
import runpy
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .context import Context
from .errors import EntrypointError


@dataclass(frozen=True)
class Entrypoint:
    """What to run: either `script`, or `module` and `function`.

    Attributes:
        script: Absolute path of a `.py` file, run as `__main__`.
        module: Dotted name.
        function: Name within the module, dots allowed.
        args: The script's command line; `None` stands for `--name value` of each parameter.
    """

    script: Path | None = None
    module: str = ""
    function: str = ""
    args: tuple[str, ...] | None = None

    def user_paths(self) -> list[Path]:
        """Files and folders whose code is the user's, even where it is installed like a library."""
        if self.script:
            return [self.script]
        spec = _find(self.module.partition(".")[0])
        if spec is None:
            return []
        folders = [Path(p).resolve() for p in spec.submodule_search_locations or []]
        return folders or ([Path(spec.origin).resolve()] if spec.origin else [])

    def digest(self) -> str | None:
        """Of the file that it begins in; `None` where that is no file."""
        spec = None if self.script else _find(self.module)
        path = self.script or (Path(spec.origin) if spec and spec.origin else None)
        return hashlib.sha256(path.read_bytes()).hexdigest() if path and path.is_file() else None


def parse(text: str, args: Sequence[str] | None = None) -> Entrypoint:
    """`train.py` or `package.module:function`, checked as far as that goes without running any code.

    Raises:
        EntrypointError: Neither form, or no such script or module.
    """
    if text.endswith(".py"):
        script = Path(text).expanduser().resolve()
        if not script.is_file():
            raise EntrypointError(f"entrypoint {text}: no such file (working directory: {Path.cwd()})")
        return Entrypoint(script=script, args=None if args is None else tuple(args))
    module, colon, function = text.partition(":")
    words = [*module.split("."), *function.split(".")]
    if not colon or not all(word.isidentifier() for word in words):
        raise EntrypointError(f"entrypoint {text!r} must be module:function or a script ending in .py")
    _cwd_on_path()
    top = module.partition(".")[0]
    if _find(top) is None:
        raise EntrypointError(
            f"entrypoint {text}: there is no module {top} in {Path.cwd()}, on PYTHONPATH ="
            f" {os.environ.get('PYTHONPATH', '')!r}, or installed"
        )
    return Entrypoint(module=module, function=function)


def _cwd_on_path() -> None:
    if not {"", str(Path.cwd())} & set(sys.path):
        sys.path.insert(0, str(Path.cwd()))


def _find(name: str) -> Any:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None


def run(entrypoint: Entrypoint, context: Context) -> Any:
    """Runs it and returns what the function returned (`None` for a script).

    Raises:
        EntrypointError: No such module or function, or one that takes more than one argument.
        BaseException: Whatever the user's code raises, `SystemExit` with a non-zero status included.
    """
    if entrypoint.script:
        call: Callable[[], Any] = functools.partial(_run_script, entrypoint.script, entrypoint.args, context)
    else:
        call = _bind(entrypoint, context)
    try:
        return call()
    except SystemExit as error:
        if error.code in (None, 0):
            return None
        raise


def _run_script(script: Path, args: Sequence[str] | None, context: Context) -> None:
    sys.argv = [str(script), *(context.params.as_args() if args is None else args)]
    sys.path.insert(0, str(script.parent))
    runpy.run_path(str(script), run_name="__main__")


def _bind(entrypoint: Entrypoint, context: Context) -> Callable[[], Any]:
    name = f"{entrypoint.module}:{entrypoint.function}"
    sys.argv = [entrypoint.module]
    try:
        module = importlib.import_module(entrypoint.module)
    except ModuleNotFoundError as error:
        # The entrypoint's own module, rather than one that it imports.
        if error.name and f"{entrypoint.module}.".startswith(f"{error.name}."):
            raise EntrypointError(f"entrypoint {name}: {error.msg}") from None
        raise
    function: Any = module
    for part in entrypoint.function.split("."):
        if not hasattr(function, part):
            raise EntrypointError(f"entrypoint {name}: {module.__file__} has no {entrypoint.function}")
        function = getattr(function, part)
    if not callable(function):
        raise EntrypointError(f"entrypoint {name}: is a {type(function).__name__}, not a function")
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # Some built-in callables have no signature.
        return functools.partial(function, context)
    required = [
        p
        for p in parameters
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    keyword_only = [p.name for p in parameters if p.default is p.empty and p.kind is p.KEYWORD_ONLY]
    if len(required) > 1 or keyword_only:
        raise EntrypointError(
            f"entrypoint {name}: takes {', '.join([p.name for p in required] + keyword_only)};"
            " it must take nothing, or one argument (the Context)"
        )
    return functools.partial(function, context) if required else function
