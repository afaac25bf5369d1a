"""What somebody else changes between what we observed and what we wrote: nobody else tells of it."""

import copy
from typing import Any

import pytest

from mlpipeline_operator import names
from mlpipeline_operator.context import Context
from mlpipeline_operator.store import Body, Key, Store
from tests.unit.operator.reconcile.recorder import context_of

PIPELINE = ("MLPipeline", "research", "digits")
RUN = ("MLPipelineRun", "research", "digits-1")


class BusyServer:
    """An API server where somebody else writes just before us: ``first`` is what they change."""

    def __init__(self, before: Body, **first: Any) -> None:
        self._live = copy.deepcopy(dict(before))
        self._live["metadata"] |= first
        self.asked: list[Body] = []

    async def apply_status(self, manifest: Body) -> Body:
        self.asked.append(manifest["metadata"])
        written = {**self._live, "status": manifest["status"]}
        written["metadata"] = {**written["metadata"], "resourceVersion": "10"}
        return written


class Watched:
    """The operator's side: what it knows, and what it will look at again."""

    def __init__(self, *bodies: Body) -> None:
        self.store, self.again = Store(), list[Key]()
        for body in bodies:
            self.store.put(body)

    def context(self, server: BusyServer) -> Context:
        return context_of(server, self.store, self.again.append)


def body(key: Key, **fields: Any) -> Body:
    kind, namespace, name = key
    metadata = {"name": name, "namespace": namespace, "uid": name, "resourceVersion": "8", "generation": 1}
    spec = {"pipelineRef": {"name": PIPELINE[2]}} if kind == RUN[0] else {}
    return {"apiVersion": names.API_VERSION, "kind": kind, "metadata": metadata, "spec": spec, **fields}


@pytest.mark.parametrize(
    "change",
    [
        {"generation": 2},
        {"annotations": {names.RUN_REQUEST_ANNOTATION: "now"}},
        {"deletionTimestamp": "2026-11-22T12:00:00Z"},
        {"labels": {"team": "vision"}},
    ],
    ids=["spec", "annotation", "deletion", "label"],
)
@pytest.mark.parametrize("key", [PIPELINE, RUN], ids=["pipeline", "run"])
async def test_an_edit_that_our_own_write_overtakes_is_looked_at(key: Key, change: dict[str, Any]) -> None:
    watched = Watched(body(key))
    await watched.context(BusyServer(body(key), **change)).write_status(body(key), {"state": "Queued"})
    assert key in watched.again
    kept = watched.store.get(*key)
    assert kept is not None
    assert change.items() <= kept["metadata"].items()


async def test_our_own_write_alone_gives_no_reason_to_look_at_it_again() -> None:
    watched = Watched(body(PIPELINE), body(RUN))
    await watched.context(BusyServer(body(RUN))).write_status(body(RUN), {"state": "Queued"})
    assert watched.again == [PIPELINE], "the pipeline sums it up"


async def test_what_the_watch_has_told_already_is_not_told_twice() -> None:
    watched = Watched(body(PIPELINE))
    newer = body(PIPELINE)
    newer["metadata"] |= {"generation": 2, "resourceVersion": "9"}
    watched.store.put(newer)
    server = BusyServer(body(PIPELINE), generation=2)
    await watched.context(server).write_status(body(PIPELINE), {"state": "Queued"})
    assert watched.again == []


async def test_a_status_is_for_the_very_object_that_was_seen_last() -> None:
    """The API server refuses it for any other version: it would take a status for a namesake's."""
    watched, server = Watched(body(PIPELINE)), BusyServer(body(PIPELINE))
    newer = body(PIPELINE)
    newer["metadata"] |= {"resourceVersion": "9"}
    watched.store.put(newer)
    assert await watched.context(server).write_status(body(PIPELINE), {"state": "Queued"})
    assert [each["resourceVersion"] for each in server.asked] == ["9"]


async def test_the_status_of_one_whose_place_a_namesake_has_taken_is_not_written() -> None:
    watched, server = Watched(), BusyServer(body(PIPELINE))
    context = watched.context(server)
    assert not await context.write_status(body(PIPELINE), {"state": "Queued"}), "it is gone"
    namesake = body(PIPELINE)
    namesake["metadata"] |= {"uid": "another", "resourceVersion": "9"}
    watched.store.put(namesake)
    assert not await context.write_status(body(PIPELINE), {"state": "Queued"})
    assert server.asked == []
