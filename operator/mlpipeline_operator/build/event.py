"""The ``Event`` object by which a transition shows in ``kubectl describe``."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mlpipeline_operator import names
from mlpipeline_operator.kinds import KINDS
from mlpipeline_operator.status.events import Event

__all__ = ["event_manifest"]

_LONGEST_NAME = 253
# The API server counts bytes.
_LONGEST_NOTE = 1024
_LONGEST_INSTANCE = 128


def event_manifest(
    regarding: Mapping[str, Any], event: Event, instance: str, moment: datetime
) -> dict[str, Any]:
    """Manifest of an Event.

    Args:
        regarding: The resource that it is about.
        event: What happened.
        instance: Which replica of the operator tells it.
        moment: When it happened.
    """
    metadata = regarding["metadata"]
    suffix = f".{uuid.uuid4().hex[:16]}"
    return {
        "apiVersion": KINDS["Event"].api_version,
        "kind": "Event",
        "metadata": {
            "name": metadata["name"][: _LONGEST_NAME - len(suffix)] + suffix,
            "namespace": metadata["namespace"],
        },
        "eventTime": moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": names.EVENT_REPORTER,
        "reportingInstance": instance[:_LONGEST_INSTANCE],
        "action": "Reconcile",
        "type": event.type,
        "reason": event.reason,
        "note": _cut(event.note),
        "regarding": {
            "apiVersion": regarding["apiVersion"],
            "kind": regarding["kind"],
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
    }


def _cut(note: str) -> str:
    data = note.encode()
    if len(data) <= _LONGEST_NOTE:
        return note
    return data[: _LONGEST_NOTE - 4].decode(errors="ignore") + " …"
