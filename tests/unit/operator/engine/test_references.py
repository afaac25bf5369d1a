"""Copies of the users' ConfigMaps: fresh whatever the order in which a watch and a read bring the news."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from mlpipeline_operator.cluster import ExpiredError, MissingError, TransientError
from mlpipeline_operator.references import References

Body = dict[str, Any]


class Cluster:
    """ConfigMaps by name, in one namespace; a watch shows what ``shows`` is given."""

    def __init__(self) -> None:
        self.version = 1
        self.there: dict[str, tuple[int, dict[str, str]]] = {}
        self.gets = self.lists = 0
        self.shows: asyncio.Queue[Any] = asyncio.Queue()
        self.while_reading: Callable[[], None] = lambda: None

    def write(self, name: str, **data: str) -> Body:
        """Write a ConfigMap; returns what a watch shows of it."""
        self.version += 1
        self.there[name] = self.version, data
        return self.metadata(name, self.version)

    def remove(self, name: str) -> Body:
        self.version += 1
        del self.there[name]
        return self.metadata(name, self.version)

    @staticmethod
    def metadata(name: str, version: int) -> Body:
        return {"metadata": {"name": name, "namespace": "team", "resourceVersion": str(version)}}

    async def get(self, kind: str, namespace: str, name: str) -> Body:
        self.gets += 1
        found = self.there.get(name)
        act, self.while_reading = self.while_reading, lambda: None
        act()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if found is None:
            raise MissingError("not found")
        return {**self.metadata(name, found[0]), "data": found[1]}

    async def list_metadata(self, kind: str, namespace: str | None) -> tuple[list[Body], str]:
        self.lists += 1
        return [self.metadata(name, found[0]) for name, found in self.there.items()], str(self.version)

    async def watch_metadata(
        self, kind: str, namespace: str | None, version: str
    ) -> AsyncGenerator[tuple[str, Body]]:
        while True:
            shown = await self.shows.get()
            if isinstance(shown, Exception):
                raise shown
            yield shown


class Watched:
    def __init__(self) -> None:
        self.cluster = Cluster()
        self.asked: list[str] = []
        self.references = References(self.cluster, (), lambda key: self.asked.append(key[2]))  # type: ignore[arg-type]

    async def read(self, pipeline: str = "churn", name: str = "code") -> dict[str, str] | None:
        found = (await self.references.read("team", pipeline, [name])).get(name)
        return dict(found) if found is not None else None

    async def shown(self, *events: Any) -> None:
        for event in events:
            self.cluster.shows.put_nowait(event)
        for _ in range(20):
            await asyncio.sleep(0)


@asynccontextmanager
async def watching() -> AsyncIterator[Watched]:
    watched = Watched()
    task = asyncio.create_task(watched.references.run())
    try:
        yield watched
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_unchanged_config_map_is_read_once_for_all_pipelines() -> None:
    async with watching() as it:
        it.cluster.write("code", a="1")
        for pipeline in ("churn", "other", "churn"):
            assert await it.read(pipeline) == {"a": "1"}
        await it.shown()
        assert await it.read() == {"a": "1"}
        assert (it.cluster.gets, it.cluster.lists, it.asked) == (1, 1, [])


async def test_nothing_is_watched_before_a_pipeline_refers_to_something() -> None:
    async with watching() as it:
        await it.references.read("team", "churn", [])
        await it.shown()
        assert it.cluster.lists == 0


async def test_a_change_has_its_pipelines_looked_at_and_is_read_once() -> None:
    async with watching() as it:
        it.cluster.write("code", a="1")
        await it.read("churn")
        await it.read("other")
        await it.shown()
        await it.shown(("MODIFIED", it.cluster.write("code", a="2")))
        assert sorted(it.asked) == ["churn", "other"]
        assert await it.read() == {"a": "2"}
        assert await it.read() == {"a": "2"}
        assert it.cluster.gets == 2


async def test_what_nobody_refers_to_is_passed_over() -> None:
    async with watching() as it:
        it.cluster.write("code", a="1")
        await it.read()
        await it.shown()
        await it.shown(
            ("ADDED", it.cluster.write("other", a="1")), ("BOOKMARK", it.cluster.metadata("x", 99))
        )
        it.references.forget("team", "churn")
        await it.shown(("MODIFIED", it.cluster.write("code", a="2")))
        assert it.asked == []


async def test_one_that_comes_goes_and_comes_back_is_told_each_time() -> None:
    async with watching() as it:
        assert await it.read() is None
        await it.shown()
        await it.shown(("ADDED", it.cluster.write("code", a="1")))
        assert await it.read() == {"a": "1"}
        await it.shown(("DELETED", it.cluster.remove("code")))
        assert await it.read() is None
        await it.shown(("ADDED", it.cluster.write("code", a="1")))
        assert await it.read() == {"a": "1"}
        assert it.asked == ["churn"] * 3


async def test_a_change_while_it_is_read_is_not_lost() -> None:
    async with watching() as it:
        it.cluster.write("code", a="1")
        await it.read()
        await it.shown()
        it.references.forget("team", "churn")

        def change() -> None:
            it.cluster.shows.put_nowait(("MODIFIED", it.cluster.write("code", a="2")))

        it.cluster.while_reading = change
        assert await it.read() == {"a": "2"}
        await it.shown()
        assert await it.read() == {"a": "2"}


async def test_what_changed_while_no_watch_was_open_is_found_by_the_next_listing() -> None:
    async with watching() as it:
        it.cluster.write("code", a="1")
        it.cluster.write("gone", a="1")
        await it.read("churn", "code")
        await it.read("other", "gone")
        await it.read("third", "never")
        await it.shown()
        it.cluster.write("code", a="2")
        it.cluster.remove("gone")
        await it.shown(ExpiredError("too old"))
        assert it.cluster.lists == 2
        assert sorted(it.asked) == ["churn", "other"]
        assert await it.read("churn", "code") == {"a": "2"}
        assert await it.read("other", "gone") is None


async def test_a_watch_that_breaks_off_goes_on_from_where_it_was(monkeypatch: Any) -> None:
    monkeypatch.setattr("mlpipeline_operator.references._PAUSE_SECONDS", 0)
    async with watching() as it:
        it.cluster.write("code", a="1")
        await it.read()
        await it.shown()
        await it.shown(TransientError("broke off"))
        await it.shown(("MODIFIED", it.cluster.write("code", a="2")))
        assert (it.cluster.lists, it.asked) == (1, ["churn"])
