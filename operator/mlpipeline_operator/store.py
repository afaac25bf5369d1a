"""What the watches have shown: the cache that every reconcile observes from, instead of reading.

It is filled by kopf's watch-streams and by the answers to our own writes, whichever is newer, so that a
reconcile that follows a write at once does not act on what was there before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from mlpipeline_operator.kinds import KINDS, RUN
from mlpipeline_operator.names import AIRFLOW_LABEL, PIPELINE_LABEL

__all__ = ["Body", "Key", "Store", "key_of"]

Body = Mapping[str, Any]
Key = tuple[str, str, str]
"""Kind, namespace, name."""

_INDEXED = (PIPELINE_LABEL, AIRFLOW_LABEL)

# So many objects that are gone are remembered: what still comes in of them was sent seconds before.
_GRAVES = 1000


class Store:
    """Objects by kind, namespace and name, and by the pipeline or Airflow that their labels name."""

    def __init__(self) -> None:
        self._objects: dict[Key, Body] = {}
        self._by_kind: dict[tuple[str, str], dict[Key, None]] = {}
        self._by_label: dict[tuple[str, str, str], dict[Key, None]] = {}
        self._gone: dict[str, None] = {}

    def put(self, body: Body) -> bool:
        """Keep ``body`` unless this or a newer version of the object is there; return whether it was news.

        An object that was removed stays so: the answer to our last write may come after the watch's word.
        """
        key = key_of(body)
        known = self._objects.get(key)
        if _uid(body) in self._gone:
            return False
        # Also of two namesakes the newer one is the one that is there now.
        if known is not None and _version(known) >= _version(body):
            return False
        if known is not None:
            self._unindex(key, known)
        self._objects[key] = _slim(body)
        self._by_kind.setdefault(key[:2], {})[key] = None
        for entry in _entries(key, body):
            self._by_label.setdefault(entry, {})[key] = None
        return True

    def remove(self, body: Body) -> None:
        """Forget the object, unless another of the same name has taken its place."""
        key = key_of(body)
        if uid := _uid(body):
            self._gone[uid] = None
            if len(self._gone) > _GRAVES:
                del self._gone[next(iter(self._gone))]
        known = self._objects.get(key)
        if known is not None and _uid(known) == _uid(body):
            self._unindex(key, known)
            self._by_kind[key[:2]].pop(key, None)
            del self._objects[key]

    def mark_going(self, body: Body) -> None:
        """Show the object as one that is being deleted, until a watch tells more of it."""
        known = self._objects.get(key_of(body))
        if known is not None and _uid(known) == _uid(body):
            going = {"deletionTimestamp": datetime.now(UTC).isoformat()}
            self._objects[key_of(body)] = {**known, "metadata": {**going, **known["metadata"]}}

    def get(self, kind: str, namespace: str, name: str) -> Body | None:
        """Return the object, or ``None``."""
        return self._objects.get((kind, namespace, name))

    def labelled(self, label: str, namespace: str, value: str, *kinds: str) -> list[Body]:
        """Objects of a namespace (of ``kinds``, or of all) whose ``label`` is ``value``."""
        keys = self._by_label.get((label, namespace, value), {})
        return [self._objects[key] for key in keys if not kinds or key[0] in kinds]

    def of_kind(self, kind: str, namespace: str) -> list[Body]:
        """All objects of a kind in one namespace."""
        return [self._objects[key] for key in self._by_kind.get((kind, namespace), ())]

    def names(self, kind: str) -> list[tuple[str, str]]:
        """Namespace and name of all objects of a kind."""
        return [key[1:] for key in self._objects if key[0] == kind]

    def _unindex(self, key: Key, body: Body) -> None:
        for entry in _entries(key, body):
            keys = self._by_label.get(entry)
            if keys is not None:
                keys.pop(key, None)
                if not keys:
                    del self._by_label[entry]


def _slim(body: Body) -> Body:
    """Drop what nobody here reads and what is most of an object's size."""
    metadata = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    return {**body, "metadata": metadata}


def key_of(body: Body) -> Key:
    """Kind, namespace and name of an object."""
    metadata = body["metadata"]
    kind = str(body["kind"])
    assert kind in KINDS, kind
    return kind, metadata["namespace"], metadata["name"]


def _uid(body: Body) -> str:
    return str(body["metadata"].get("uid", ""))


def _version(body: Body) -> int:
    # Since Kubernetes 1.35 resource versions are documented to be comparable as numbers; before that they
    # were so in every release that kept its objects in etcd.
    return int(body["metadata"].get("resourceVersion") or 0)


def _entries(key: Key, body: Body) -> Iterator[tuple[str, str, str]]:
    labels = body["metadata"].get("labels") or {}
    if key[0] == RUN:
        # A user's run has no labels of ours; what it refers to counts.
        labels = {**labels, PIPELINE_LABEL: ((body.get("spec") or {}).get("pipelineRef") or {}).get("name")}
    for label in _INDEXED:
        if label in labels:
            yield label, key[1], labels[label]
