"""Values as Python literals, laid out as a formatter would.

Whatever text goes in, what comes out is a literal and nothing else: it cannot become code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["literal"]

_WIDTH: Final = 100
_INDENT: Final = 4


@dataclass(frozen=True, slots=True)
class _Node:
    """A literal in one line, and its parts where it may be broken: what stands before each, and the part."""

    flat: str
    parts: tuple[tuple[str, _Node], ...] = ()


def literal(value: Any, column: int = 0) -> str:
    """Return the Python literal of a value of dicts, lists, strings, numbers, booleans and None.

    Args:
        value: What to write; tuples become lists.
        column: Where the literal begins in its line, counted from 0.

    Raises:
        TypeError: There is something else in it.
    """
    return _lay_out(_node(value), column, 0)


def _node(value: Any) -> _Node:
    if isinstance(value, str):
        text = ascii(value)
        return _Node(f'"{text[1:-1]}"' if text[0] == "'" and '"' not in text else text)
    if value is None or isinstance(value, bool | int | float):
        return _Node(repr(value))
    if isinstance(value, Mapping):
        parts = tuple((f"{_node(key).flat}: ", _node(item)) for key, item in value.items())
        return _Node("{" + ", ".join(before + part.flat for before, part in parts) + "}", parts)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        parts = tuple(("", _node(item)) for item in value)
        return _Node("[" + ", ".join(part.flat for _, part in parts) + "]", parts)
    raise TypeError(f"{type(value).__name__} has no place in a DAG: {value!r}")


def _lay_out(node: _Node, column: int, indent: int) -> str:
    if not node.parts or column + len(node.flat) <= _WIDTH:
        return node.flat
    inner = indent + _INDENT
    lines = (
        f"{' ' * inner}{before}{_lay_out(part, inner + len(before), inner)},\n" for before, part in node.parts
    )
    return f"{node.flat[0]}\n{''.join(lines)}{' ' * indent}{node.flat[-1]}"
