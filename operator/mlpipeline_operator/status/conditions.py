"""Conditions in the form of ``metav1.Condition``, with kstatus's meanings.

``Reconciling`` and ``Stalled`` are abnormal-true: they are present only while they are true, as kstatus wants
it. The others are always present once known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

__all__ = ["Condition", "is_true", "merge_conditions", "timestamp"]

_LONGEST_REASON = 128
_ONLY_WHILE_TRUE = frozenset({"Reconciling", "Stalled"})


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition; ``status`` is ``"True"``, ``"False"`` or ``"Unknown"``."""

    type: str
    status: str
    reason: str
    message: str = ""


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC, to the second, as the API server writes times."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def merge_conditions(
    previous: Iterable[Mapping[str, Any]], current: Iterable[Condition], *, generation: int, now: datetime
) -> list[dict[str, Any]]:
    """Return the wire form of ``current``, keeping the transition time of those whose status stayed."""
    before = {condition["type"]: condition for condition in previous}
    merged = []
    for condition in current:
        if condition.type in _ONLY_WHILE_TRUE and condition.status != "True":
            continue
        known = before.get(condition.type)
        unchanged = known is not None and known["status"] == condition.status
        merged.append(
            {
                "type": condition.type,
                "status": condition.status,
                "reason": _word(condition.reason),
                "message": condition.message[:1024],
                "observedGeneration": generation,
                "lastTransitionTime": known["lastTransitionTime"] if known and unchanged else timestamp(now),
            }
        )
    return sorted(merged, key=lambda item: item["type"])


def _word(reason: str) -> str:
    """The reason in the form that the API server takes; what a user's code gives as one may be anything."""
    word = re.sub(r"[^A-Za-z0-9_,:]", "", reason).lstrip("0123456789_,:").rstrip(",:")
    return word[:_LONGEST_REASON].rstrip(",:") or "Error"


def is_true(status: Mapping[str, Any] | None, condition: str) -> bool:
    """Whether a resource's status has ``condition`` with the value True."""
    conditions = (status or {}).get("conditions") or ()
    return any(each["type"] == condition and each["status"] == "True" for each in conditions)
