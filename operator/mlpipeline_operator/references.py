"""The users' own ConfigMaps that pipelines take their code from: read when they changed, and watched.

They carry none of our labels, so the operator's watches do not show them. One more watch, of the metadata of
all ConfigMaps, tells when one that matters has changed; it is opened with the first pipeline that refers to
one. Only then is the ConfigMap itself read, once for each of its versions.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from mlpipeline_operator.cluster import Cluster, ExpiredError, Manifest, MissingError
from mlpipeline_operator.errors import OperatorError
from mlpipeline_operator.kinds import PIPELINE
from mlpipeline_operator.store import Key

__all__ = ["References"]

_log = logging.getLogger(__name__)

_PAUSE_SECONDS = 2.0

_Name = tuple[str, str]
"""Namespace and name of a ConfigMap."""


@dataclass(frozen=True, slots=True)
class _Copy:
    """A ConfigMap as it was read; ``version`` is 0, and ``data`` is ``None``, where there was none."""

    version: int
    data: Mapping[str, str] | None
    # What the watch had shown last when this was read: while that is so, the copy is fresh.
    seen: int


class References:
    """Copies of the ConfigMaps that pipelines refer to.

    Args:
        cluster: Where they are read and watched.
        namespaces: Where the operator works; everywhere, if empty.
        enqueue: Has a pipeline looked at again.
    """

    def __init__(self, cluster: Cluster, namespaces: tuple[str, ...], enqueue: Callable[[Key], None]) -> None:
        self._cluster = cluster
        self._namespaces = namespaces
        self._enqueue = enqueue
        self._wants: dict[tuple[str, str], set[str]] = {}
        self._users: dict[_Name, set[str]] = {}
        self._copies: dict[_Name, _Copy] = {}
        self._seen: dict[_Name, int] = {}
        self._wanted = asyncio.Event()

    async def read(
        self, namespace: str, pipeline: str, config_maps: Iterable[str]
    ) -> dict[str, Mapping[str, str]]:
        """Return the data of those of ``config_maps`` that are there, and have the pipeline told of changes.

        Raises:
            TransientError: The API server did not answer.
        """
        wanted = set(config_maps)
        self._want(namespace, pipeline, wanted)
        copies = {name: await self._data((namespace, name)) for name in sorted(wanted)}
        return {name: data for name, data in copies.items() if data is not None}

    def forget(self, namespace: str, pipeline: str) -> None:
        """A pipeline is gone: tell it of nothing any more."""
        self._want(namespace, pipeline, set())

    def _want(self, namespace: str, pipeline: str, wanted: set[str]) -> None:
        before = self._wants.pop((namespace, pipeline), set())
        if wanted:
            self._wants[namespace, pipeline] = wanted
            self._wanted.set()
        for name in wanted - before:
            self._users.setdefault((namespace, name), set()).add(pipeline)
        for name in before - wanted:
            users = self._users[namespace, name]
            users.discard(pipeline)
            if not users:
                for known in (self._users, self._copies, self._seen):
                    known.pop((namespace, name), None)

    async def run(self) -> None:
        """Watch until cancelled."""
        await self._wanted.wait()
        async with asyncio.TaskGroup() as tasks:
            for namespace in self._namespaces or (None,):
                tasks.create_task(self._watch(namespace), name=f"watch ConfigMaps of {namespace or 'all'}")

    async def _data(self, name: _Name) -> Mapping[str, str] | None:
        while True:
            seen, copy = self._seen.get(name, 0), self._copies.get(name)
            if copy is not None and copy.seen == seen:
                return copy.data
            try:
                body = await self._cluster.get("ConfigMap", *name)
                copy = _Copy(_version(body), body.get("data") or {}, seen)
            except MissingError:
                copy = _Copy(0, None, seen)
            now = self._seen.get(name, 0)
            # The watch may have shown a change meanwhile, and this be what was there before it.
            if now == seen or copy.version >= now:
                if name in self._users:
                    self._copies[name] = replace(copy, seen=now)
                return copy.data

    async def _watch(self, namespace: str | None) -> None:
        version: str | None = None
        while True:
            try:
                if version is None:
                    version = await self._list(namespace)
                watch = self._cluster.watch_metadata("ConfigMap", namespace, version)
                async with contextlib.aclosing(watch):
                    async for kind, body in watch:
                        version = body["metadata"]["resourceVersion"]
                        if kind != "BOOKMARK":
                            self._show(_name(body), _version(body), there=kind != "DELETED")
            except ExpiredError:
                version = None
            except OperatorError as error:
                _log.info("watching ConfigMaps: %s; trying again", error.message)
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _list(self, namespace: str | None) -> str:
        bodies, version = await self._cluster.list_metadata("ConfigMap", namespace)
        there = {_name(body): _version(body) for body in bodies}
        for name in list(self._users):
            if namespace in (None, name[0]):
                self._show(name, there.get(name, int(version)), there=name in there)
        return version

    def _show(self, name: _Name, version: int, *, there: bool) -> None:
        """A ConfigMap has this version now, or is gone since it."""
        if name not in self._users:
            return
        copy = self._copies.get(name)
        if copy is not None and (copy.version >= version if there else copy.data is None):
            return
        self._seen[name] = version
        if copy is not None:
            for pipeline in self._users[name]:
                self._enqueue((PIPELINE, name[0], pipeline))


def _name(body: Manifest) -> _Name:
    return body["metadata"]["namespace"], body["metadata"]["name"]


def _version(body: Manifest) -> int:
    # Comparable as numbers: see ``store``.
    return int(body["metadata"]["resourceVersion"])
