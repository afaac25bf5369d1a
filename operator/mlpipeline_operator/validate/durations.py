"""Durations as hours, minutes and seconds: ``1h30m``, ``90s``, ``48h``."""

from __future__ import annotations

import re

from mlpipeline_operator.errors import SpecError

__all__ = ["seconds"]

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
# Ten years: more overflows nobody's calendar, and nobody means it.
_LONGEST = 10 * 366 * 24 * 3600


def seconds(text: str, field: str) -> int:
    """Return a duration in seconds.

    Raises:
        SpecError: It is none, or over ten years.
    """
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        raise SpecError(f"{field}: {text!r} is not a duration; write 90s, 15m, 1h30m or 48h")
    hours, minutes, rest = (int(part or 0) for part in found.groups())
    total = 3600 * hours + 60 * minutes + rest
    if total > _LONGEST:
        raise SpecError(f"{field}: {text} is over ten years")
    return total
