"""What stands in for the API server where only the order and the number of writes matter."""

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from mlpipeline_operator.cluster import Cluster, Manifest
from mlpipeline_operator.connections import Connections
from mlpipeline_operator.context import Context
from mlpipeline_operator.settings import Settings
from mlpipeline_operator.store import Key, Store
from mlpipeline_operator.values import Images

Body = dict[str, Any]

IMAGES = Images("images.test/airflow:1", "images.test/trainer:1", "images.test/postgres:1")


def context_of(api: object, store: Store, enqueue: Callable[[Key], None] = lambda key: None) -> Context:
    """An operator's state with ``api`` in the API server's place, and no Airflow."""
    settings, cluster = Settings(IMAGES), cast(Cluster, api)
    return Context(settings, cluster, store, Connections(settings, cluster, lambda *_: None), enqueue)


class Recorder:
    """Keeps what is applied, as the API server would give it back, and notes each write.

    Attributes:
        writes: ``(verb, kind, name)`` in their order.
        clock: Creation time of the next object.
    """

    def __init__(self) -> None:
        self.writes: list[tuple[str, str, str]] = []
        self.clock = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
        self._version = 100
        self._created: dict[tuple[str, str], str] = {}

    async def apply(self, manifest: Manifest) -> Manifest:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        self.writes.append(("apply", kind, name))
        return self.served(manifest)

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        self.writes.append(("delete", kind, name))
        self._created.pop((kind, name), None)

    def served(self, manifest: Manifest) -> Manifest:
        """The object with what the API server adds."""
        body = copy.deepcopy(manifest)
        key = body["kind"], body["metadata"]["name"]
        self._version += 1
        created = self._created.setdefault(key, self.clock.strftime("%Y-%m-%dT%H:%M:%SZ"))
        body["metadata"] |= {
            "uid": f"uid-of-{key[1]}",
            "resourceVersion": str(self._version),
            "generation": 1,
            "creationTimestamp": created,
        }
        return body

    def pass_time(self, **how_long: float) -> None:
        self.clock += timedelta(**how_long)
