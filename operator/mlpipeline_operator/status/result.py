"""A step's result, from a termination message or from XCom, cut to what a status may hold.

It comes out of a user's pod, so nothing about its shape is certain; a field of another shape is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["clean_result"]

_LONGEST_NAME = 253
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MARKS = frozenset({"schema", "metrics", "outputs"})


def clean_result(raw: Any) -> dict[str, Any]:
    """Return what a status may hold of a result: what it lacks, or has in another form, is left out.

    The keys are schema, metrics, bestMetrics, model, failure, resourceUsage, commit and resumedFromEpoch; all
    values are strings. The trainer's result has a ``schema``; any other step's may have ``metrics`` or
    ``outputs`` alone. What has none of them is no result: empty.
    """
    if not isinstance(raw, Mapping) or not _MARKS & raw.keys():
        return {}
    found: dict[str, Any] = {
        "metrics": _texts(raw.get("metrics")),
        "bestMetrics": _texts(raw.get("bestMetrics")),
        "model": _texts(raw.get("model"), "uri", "digest"),
        "failure": _texts(raw.get("failure"), "reason", "message", "exitCode"),
        "resourceUsage": _texts(raw.get("resourceUsage")),
    }
    commit, epoch = raw.get("commit"), raw.get("resumedFromEpoch")
    if isinstance(commit, str) and _COMMIT.fullmatch(commit):
        found["commit"] = commit
    if isinstance(epoch, int) and not isinstance(epoch, bool) and epoch > 0:
        found["resumedFromEpoch"] = str(epoch)
    return {"schema": raw.get("schema", 1), **{key: value for key, value in found.items() if value}}


def _texts(raw: Any, *keys: str) -> dict[str, str]:
    """The scalars of a mapping (of ``keys``, or all) as strings."""
    if not isinstance(raw, Mapping):
        return {}
    return {
        key: str(value)
        for key, value in raw.items()
        if isinstance(value, str | int | float)
        and isinstance(key, str)
        and 0 < len(key) <= _LONGEST_NAME
        and (not keys or key in keys)
    }
