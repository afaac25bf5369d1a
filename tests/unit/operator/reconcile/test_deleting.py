"""A deletion by the operator, in whatever order the API server's answer and the watch's word of it come."""

from typing import Any

import pytest

from mlpipeline_operator import names
from mlpipeline_operator.context import Context
from mlpipeline_operator.store import Body, Store
from tests.unit.operator.reconcile.recorder import Recorder, context_of

KEY = ("MLPipelineRun", "research", "digits-1")


class WatchIsFirst(Recorder):
    """An API server whose watch tells of a deletion before the request for it is answered."""

    def __init__(self, store: Store, *, shown: bool) -> None:
        super().__init__()
        self._store = store
        self._shown = shown

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        await super().delete(kind, namespace, name)
        before = self._store.get(kind, namespace, name)
        assert before is not None
        if self._shown:
            going = {"deletionTimestamp": "2026-11-22T12:00:00Z", "resourceVersion": "900"}
            assert self._store.put({**before, "metadata": {**before["metadata"], **going}})


def run(**metadata: Any) -> Body:
    known = {"name": KEY[2], "namespace": KEY[1], "uid": "one", "resourceVersion": "8"}
    return {
        "apiVersion": names.API_VERSION,
        "kind": KEY[0],
        "metadata": {**known, **metadata},
        "spec": {"pipelineRef": {"name": "digits"}},
    }


def context_with(store: Store, *, shown: bool) -> Context:
    return context_of(WatchIsFirst(store, shown=shown), store)


@pytest.mark.parametrize("shown", [True, False], ids=["the watch is first", "the answer is first"])
async def test_a_run_that_is_to_be_finalized_can_still_be_found(shown: bool) -> None:
    store = Store()
    store.put(run(finalizers=[names.FINALIZER]))
    await context_with(store, shown=shown).delete(run(finalizers=[names.FINALIZER]))
    kept = store.get(*KEY)
    assert kept is not None
    assert "deletionTimestamp" in kept["metadata"]


async def test_what_nothing_holds_is_gone_at_once() -> None:
    store = Store()
    store.put(run())
    await context_with(store, shown=False).delete(run())
    assert store.get(*KEY) is None
