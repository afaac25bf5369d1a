"""Untyped scalars, and the one way in which each becomes a string."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from mlpipeline_operator import names
from mlpipeline_operator.errors import SpecError

__all__ = ["canonical", "canonical_parameters"]

_PARAMETER = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")
_LONGEST_VALUE = 32768
# From here on JSON writers, the API server's among them, use an exponent.
_EXPONENT_FROM = 1e21


def canonical(value: Any, path: str) -> str:
    """Return a string, number or boolean as the one string that the training, or Airflow, gets.

    Strings stay, booleans are ``true`` and ``false``, numbers have the shortest text that reads back as the
    same number, and a whole number has no point: ``1.0`` is ``1``. (YAML and JSON do not tell the two apart
    on their way through the API server, so nobody could; a user for whom the text matters quotes it.)

    Raises:
        SpecError: ``value`` is a list, an object, null, or not a finite number; ``path`` names it.
    """
    if isinstance(value, str):
        if len(value) > _LONGEST_VALUE:
            raise SpecError(
                f"{path}: a value may have at most {_LONGEST_VALUE} characters, this has {len(value)}"
            )
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) < _EXPONENT_FROM:
        return str(value)
    if isinstance(value, int | float):
        return _number(value, path)
    kinds = {list: "a list", tuple: "a list", type(None): "nothing"}
    found = "an object" if isinstance(value, Mapping) else kinds.get(type(value), type(value).__name__)
    raise SpecError(
        f"{path}: must be a string, a number or a boolean, not {found}; quote it to pass it as text"
    )


def canonical_parameters(
    parameters: Mapping[str, Any] | None, path: str = "spec.parameters"
) -> dict[str, str]:
    """Return parameters as strings, by name in alphabetical order.

    Raises:
        SpecError: A name or a value will not do, or two names come to the same environment variable.
    """
    found: dict[str, str] = {}
    taken: dict[str, str] = {}
    for name in sorted(parameters or {}):
        if not _PARAMETER.fullmatch(name):
            raise SpecError(
                f'{path}: "{name}" will not do as the name of a parameter; use at most 63 letters, digits,'
                ' "_", "-" and ".", a letter first'
            )
        env = names.parameter_env(name)
        if env in taken:
            raise SpecError(
                f'{path}: "{taken[env]}" and "{name}" would both be the variable {env}; rename one of them'
            )
        taken[env] = name
        found[name] = canonical((parameters or {})[name], f"{path}.{name}")
    return found


def _number(value: float, path: str) -> str:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise SpecError(f"{path}: must be a finite number; quote it to pass it as text")
    if number.is_integer() and abs(number) < _EXPONENT_FROM:
        return str(int(number))
    return repr(number)
