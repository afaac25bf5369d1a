"""Finds what was deleted while no watch was open: a new listing shows what is there, never what is gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from mlpipeline_operator.cluster import Cluster
from mlpipeline_operator.errors import OperatorError
from mlpipeline_operator.kinds import OWNED, OWNED_SELECTOR
from mlpipeline_operator.store import Body, Key, Store, key_of

__all__ = ["Recount"]

_log = logging.getLogger(__name__)

# By then a listing that has begun has been taken in.
_WAIT_SECONDS = 10.0


class Recount:
    """Reads a kind once more where a watch's listing left something out that the store has.

    Args:
        cluster: To read with.
        store: What is known.
        namespaces: Those that are watched; all, if empty.
        changed: Told of each object that is gone, as of one that a watch shows as deleted.
    """

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        namespaces: tuple[str, ...],
        changed: Callable[..., None],
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._namespaces = namespaces
        self._changed = changed
        self._unseen: dict[str, set[Key]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def read(self, kind: str) -> list[Body]:
        """All objects of a kind that the watches would show."""
        selector = OWNED_SELECTOR if kind in OWNED else ""
        return [
            body
            for namespace in self._namespaces or (None,)
            for body in await self._cluster.list(kind, namespace, selector)
        ]

    def begin(self, kind: str) -> None:
        """Expect that a listing shows all of a kind that the store has."""
        if kind not in self._unseen:
            self._unseen[kind] = {(kind, *name) for name in self._store.names(kind)}
            task = asyncio.create_task(self._finish(kind), name=f"recount {kind}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def listed(self, body: Body) -> None:
        """Take note of one object of a listing; the first one of its kind begins the count."""
        kind = str(body["kind"])
        self.begin(kind)
        self._unseen[kind].discard(key_of(body))

    def cancel(self) -> None:
        """Give up the counts that are under way."""
        for task in self._tasks:
            task.cancel()

    async def _finish(self, kind: str) -> None:
        await asyncio.sleep(_WAIT_SECONDS)
        unseen = self._unseen.pop(kind)
        while unseen:
            try:
                there = {key_of(body) for body in await self.read(kind)}
            except OperatorError as error:
                _log.info("recount of %s: %s; trying again", kind, error.message)
                await asyncio.sleep(_WAIT_SECONDS)
                continue
            for key in unseen - there:
                body = self._store.get(*key)
                if body is not None:
                    self._changed(body, deleted=True)
            return
