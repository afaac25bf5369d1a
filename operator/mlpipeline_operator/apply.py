"""Whether an object must be written: a pure comparison of what we want with what the watches show.

A write is skipped when both hold: the hash that we annotated last is that of the manifest (a field that we no
longer want is gone), and the live object still has every field that we own (nobody changed it).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from mlpipeline_operator.errors import SpecError
from mlpipeline_operator.names import APPLIED_HASH_ANNOTATION
from mlpipeline_operator.validate import quantities

__all__ = ["needs_apply", "with_applied_hash"]

# By what the API server tells the elements of a list apart, in the order in which to look: one volume may be
# mounted at several paths, so the path comes before the name.
_LIST_KEYS = ("mountPath", "containerPort", "name", "type", "uid", "key")
# Below these the API server rewrites values: "1024Mi" comes back as "1Gi".
_QUANTITIES = frozenset({"limits", "requests", "sizeLimit", "divisor"})


def with_applied_hash(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest with the annotation that holds the hash of all of it."""
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    metadata = dict(manifest["metadata"])
    metadata["annotations"] = {**metadata.get("annotations", {}), APPLIED_HASH_ANNOTATION: digest}
    return {**manifest, "metadata": metadata}


def needs_apply(desired: Mapping[str, Any], live: Mapping[str, Any] | None) -> bool:
    """Whether ``desired`` (with its hash annotated) must be applied over ``live``."""
    return live is None or not _covers(live, desired)


def _covers(live: Any, desired: Any, *, quantity: bool = False) -> bool:
    if isinstance(desired, Mapping):
        # An empty mapping that the API server dropped is the same as one that it kept.
        if not isinstance(live, Mapping):
            return not desired and live is None
        return all(
            _covers(live.get(key), value, quantity=quantity or key in _QUANTITIES)
            for key, value in desired.items()
            if key != "status"
        )
    if isinstance(desired, list):
        return isinstance(live, list | None) and _covers_list(live or [], desired)
    return _same(live, desired) or (quantity and _same_quantity(live, desired))


def _covers_list(live: list[Any], desired: list[Any]) -> bool:
    key = _list_key(desired)
    if key is None:
        return len(live) == len(desired) and all(map(_covers, live, desired))
    known = {item.get(key): item for item in live if isinstance(item, Mapping)}
    return all(item[key] in known and _covers(known[item[key]], item) for item in desired)


def _list_key(items: list[Any]) -> str | None:
    """The field that identifies the elements, so that a webhook's additions do not count as drift."""
    if not items or not all(isinstance(item, Mapping) for item in items):
        return None
    for key in _LIST_KEYS:
        values = [item.get(key) for item in items]
        if None not in values and len(set(values)) == len(values):
            return key
    return None


def _same(live: Any, desired: Any) -> bool:
    return bool(live == desired or (live is None and desired in ("", 0, False)))


def _same_quantity(live: Any, desired: Any) -> bool:
    try:
        return quantities.parse(live, "live") == quantities.parse(desired, "desired")
    except SpecError:
        return False
