"""Parameters: from environment and command line, typed on access, checked against what a preset declares.

A parameter's value travels as one canonical string: `0.001`, `3`, `true`, `adam`.
"""

from __future__ import annotations

import difflib
import json
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, overload

from .errors import ParameterError

ENV_PREFIX = "MLP_PARAM_"
ENV_ALL = "MLP_PARAMETERS"

Scalar = int | float | bool | str
T = TypeVar("T", int, float, bool, str)

_TRUE = {"true", "1", "yes", "on"}
_FALSE = {"false", "0", "no", "off"}


def env_name(name: str) -> str:
    """The environment variable of a parameter: `learning-rate` -> `MLP_PARAM_LEARNING_RATE`."""
    return ENV_PREFIX + re.sub(r"[^A-Z0-9]", "_", name.upper())


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "_", name.lower())


def canonical(value: Any) -> str:
    """The one string form of a scalar: `true`/`false`, integers in decimal, floats as their shortest `repr`.

    Raises:
        ParameterError: For anything that is not a finite number, a boolean or a string.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    raise ParameterError(f"a parameter must be a string, a finite number or a boolean, not {value!r}")


def parse(name: str, text: str, kind: type[T]) -> T:
    """`text` as `kind` (`int`, `float`, `bool` or `str`).

    Raises:
        ParameterError: Names the parameter, the value and what was expected.
    """
    wanted = {int: "an integer", float: "a finite number", bool: "true or false", str: "text"}[kind]
    value = _parse(text.strip() if kind is not str else text, kind)
    if value is None:
        raise ParameterError(f"parameter {name}={text!r} must be {wanted}")
    return kind(value)


def _parse(text: str, kind: type[Any]) -> Scalar | None:
    if kind is str:
        return text
    if kind is bool:
        return True if text.lower() in _TRUE else False if text.lower() in _FALSE else None
    try:
        number = int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    if kind is int:
        # 1e3 and 3.0 are integers to a user who wrote them in YAML.
        return int(number) if number == int(number) else None
    return float(number)


def guess(text: str) -> Scalar:
    """`text` as the narrowest of int, float, bool (`true`/`false` only), str."""
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    if text in ("true", "false"):
        return text == "true"
    number = _parse(text, float)
    return text if number is None else number


class Parameters(Mapping[str, str]):
    """Name -> canonical string, with typed access.

    A name is matched exactly, else without regard to case and to `-`, `.` versus `_`.
    """

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        """Copies `values`; two names that differ only in spelling are a `ParameterError`."""
        self._values = dict(values or {})
        self._by_key: dict[str, str] = {}
        for name in self._values:
            other = self._by_key.setdefault(_key(name), name)
            if other != name:
                raise ParameterError(
                    f"parameters {other!r} and {name!r} are the same in the environment; rename one"
                )

    def __getitem__(self, name: str) -> str:
        """The canonical string; `KeyError` if there is none."""
        return self._values[self._by_key[_key(name)]]

    def __iter__(self) -> Iterator[str]:
        """The names, as they were given."""
        return iter(self._values)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._values)

    def __repr__(self) -> str:
        """For debugging."""
        return f"Parameters({self._values!r})"

    def merged(self, other: Mapping[str, str]) -> Parameters:
        """These, with `other`'s values taking the place of those with the same (normalised) name."""
        keys = {_key(name) for name in other}
        return Parameters({n: v for n, v in self._values.items() if _key(n) not in keys} | dict(other))

    @overload
    def get_as(self, name: str, kind: type[T]) -> T: ...
    @overload
    def get_as(self, name: str, kind: type[T], default: T) -> T: ...
    def get_as(self, name: str, kind: type[T], default: T | None = None) -> T:
        """The value as `kind`, or `default` if the parameter is absent.

        Raises:
            ParameterError: Absent without a default, or not of that type.
        """
        if name in self:
            return parse(name, self[name], kind)
        if default is None:
            raise ParameterError(f"parameter {name} is required" + _known(self._values))
        return default

    def as_env(self) -> dict[str, str]:
        """The environment variables that say the same: one for each parameter, and `MLP_PARAMETERS`."""
        return {env_name(n): v for n, v in self._values.items()} | {ENV_ALL: json.dumps(self._values)}

    def as_args(self) -> list[str]:
        """`--name value` for each, in the order given."""
        return [part for name, value in self._values.items() for part in (f"--{name}", value)]


def from_env(environ: Mapping[str, str]) -> Parameters:
    """The parameters of `MLP_PARAMETERS` (a JSON object) and `MLP_PARAM_<NAME>`.

    The JSON object keeps the names as they were written, so it decides the spelling; a variable without an
    entry there gives the lower-cased name. The two must not contradict each other.

    Raises:
        ParameterError: Not a JSON object of scalars, or a contradiction.
    """
    text = environ.get(ENV_ALL, "").strip()
    try:
        loaded = json.loads(text) if text else {}
    except ValueError as error:
        raise ParameterError(f"{ENV_ALL} is not JSON: {error}") from None
    if not isinstance(loaded, dict):
        raise ParameterError(f"{ENV_ALL} must be a JSON object of name to value, not {type(loaded).__name__}")
    values = {str(name): canonical(value) for name, value in loaded.items()}
    by_env = {env_name(name): name for name in values}
    for variable, value in sorted(environ.items()):
        if not variable.startswith(ENV_PREFIX) or variable == ENV_PREFIX:
            continue
        name = by_env.get(variable)
        if name is None:
            values[variable.removeprefix(ENV_PREFIX).lower()] = value
        elif values[name] != value:
            raise ParameterError(
                f"{variable}={value!r} contradicts {ENV_ALL}, where {name} is {values[name]!r}"
            )
    return Parameters(values)


def from_pairs(pairs: Sequence[str]) -> dict[str, str]:
    """`["epochs=3", "lr=0.1"]` -> `{"epochs": "3", "lr": "0.1"}`.

    Raises:
        ParameterError: For an entry that is not `name=value`.
    """
    values = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise ParameterError(f"--param takes name=value, not {pair!r}")
        values[name.strip()] = value
    return values


def from_args(args: Sequence[str]) -> dict[str, str]:
    """What a script's `--name value` and `--name=value` arguments say; a flag without a value is `true`."""
    values: dict[str, str] = {}
    rest = list(args)
    while rest:
        arg = rest.pop(0)
        if arg == "--":
            break
        if not re.match(r"--[A-Za-z_]", arg):
            continue
        name, equals, value = arg[2:].partition("=")
        if not equals:
            # "-0.1" is a value, "--x" and "-x" are the next option.
            is_value = bool(rest) and (not rest[0].startswith("-") or _parse(rest[0], float) is not None)
            value = rest.pop(0) if is_value else "true"
        values[name] = value
    return values


@dataclass(frozen=True)
class Spec:
    """A parameter that a preset knows.

    Attributes:
        name: As documented.
        default: Also gives the type.
        help: One line.
        aliases: Other names for it.
        minimum: Inclusive lower bound of a number; `above` makes it exclusive.
        maximum: Inclusive upper bound; `below` makes it exclusive.
        choices: The allowed texts, if the list is closed.
    """

    name: str
    default: Scalar
    help: str
    aliases: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = field(default=())

    def read(self, name: str, text: str) -> Scalar:
        """`text`, given under `name`, as this parameter's value; `ParameterError` if it is not one."""
        kind: type[Any] = type(self.default)
        value: Scalar = parse(name, text, kind)
        if self.choices and value not in self.choices:
            raise ParameterError(f"parameter {name}={text!r} must be one of {', '.join(self.choices)}")
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            self._check_range(name, value)
        return value

    def _check_range(self, name: str, value: float) -> None:
        bounds: list[tuple[float | None, str, Callable[[float, float], bool]]] = [
            (self.minimum, "at least", operator.ge),
            (self.maximum, "at most", operator.le),
            (self.above, "above", operator.gt),
            (self.below, "below", operator.lt),
        ]
        for bound, words, holds in bounds:
            if bound is not None and not holds(value, bound):
                raise ParameterError(f"parameter {name}={value} must be {words} {bound:g}")


def resolve(specs: Sequence[Spec], given: Mapping[str, str]) -> dict[str, Any]:
    """Every declared parameter's value, from `given` or by default.

    Raises:
        ParameterError: Unknown name (lists the known ones), wrong type, out of range, given twice.
    """
    by_name = {_key(n): spec for spec in specs for n in (spec.name, *spec.aliases)}
    values: dict[str, Any] = {spec.name: spec.default for spec in specs}
    given_as: dict[str, str] = {}
    for name, text in given.items():
        spec = by_name.get(_key(name))
        if spec is None:
            close = difflib.get_close_matches(_key(name), list(by_name), n=1, cutoff=0.6)
            hint = f"; did you mean {by_name[close[0]].name}?" if close else ""
            raise ParameterError(f"unknown parameter {name!r}{hint}" + _known(describe(specs)))
        if spec.name in given_as:
            raise ParameterError(f"parameters {given_as[spec.name]!r} and {name!r} are the same; give one")
        given_as[spec.name] = name
        values[spec.name] = spec.read(name, text)
    return values


def describe(specs: Sequence[Spec]) -> list[str]:
    """`learning_rate (or lr)`, ... : the names with their aliases."""
    return [s.name + (f" (or {', '.join(s.aliases)})" if s.aliases else "") for s in specs]


def _known(names: Mapping[str, str] | Sequence[str]) -> str:
    return f" (known: {', '.join(names) or 'none'})"
