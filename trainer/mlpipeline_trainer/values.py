"""Metric values as text: finite, canonical, without the digits that float32 does not have."""

from __future__ import annotations

import math
import struct
from typing import Any


def to_number(value: Any) -> int | float | None:
    """A Python number for an int, float, bool, numpy scalar or 0-d tensor; `None` for anything else."""
    if isinstance(value, str | bytes):
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def canonical_number(value: int | float) -> str:
    """The shortest decimal that gives the number back, as `repr` would write it.

    Keras computes in float32; 0.98339998722076416 stands for 0.9834 there, and that is what is written if the
    number is exactly a float32.

    Raises:
        ValueError: For NaN and infinities.
    """
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value):
        raise ValueError(f"{value} is not finite")
    if _float32(value) == value:
        for digits in range(1, 10):
            short = float(f"{value:.{digits}g}")
            if _float32(short) == value:
                return repr(short)
    return repr(value)


def _float32(value: float) -> float | None:
    try:
        unpacked: float = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return None
    return unpacked
