"""A run that is seen before its pipeline: each kind has a watch of its own."""

import pytest

from mlpipeline_operator import names
from mlpipeline_operator.cluster import MissingError
from mlpipeline_operator.context import Context
from mlpipeline_operator.errors import NotReadyError
from mlpipeline_operator.reconcile.runs import reconcile_run
from mlpipeline_operator.store import Body, Store
from tests.unit.operator.reconcile.recorder import context_of

RUN: Body = {
    "apiVersion": names.API_VERSION,
    "kind": "MLPipelineRun",
    "metadata": {
        "name": "by-hand",
        "namespace": "research",
        "uid": "one",
        "resourceVersion": "8",
        "generation": 1,
        "creationTimestamp": "2026-11-22T12:00:00Z",
        "finalizers": [names.FINALIZER],
    },
    "spec": {"pipelineRef": {"name": "digits"}},
}


class Server:
    """An API server that has the pipeline, or has not."""

    def __init__(self, *, has_pipeline: bool) -> None:
        self._has_pipeline = has_pipeline
        self.states: list[str] = []

    async def get(self, kind: str, namespace: str, name: str) -> Body:
        if not self._has_pipeline:
            raise MissingError(f"there is no {kind} {name}")
        return {"kind": kind, "metadata": {"name": name, "namespace": namespace}}

    async def apply_status(self, manifest: Body) -> Body:
        self.states.append(manifest["status"]["failure"]["reason"])
        return {**RUN, "status": manifest["status"]}


def context(server: Server) -> Context:
    store = Store()
    store.put(RUN)
    return context_of(server, store)


async def test_it_waits_for_a_pipeline_that_is_there_and_was_not_seen_yet() -> None:
    server = Server(has_pipeline=True)
    with pytest.raises(NotReadyError, match="digits has not been seen yet"):
        await reconcile_run(context(server), "research", "by-hand")
    assert server.states == []


async def test_it_has_failed_where_there_is_no_such_pipeline() -> None:
    server = Server(has_pipeline=False)
    await reconcile_run(context(server), "research", "by-hand")
    assert server.states == ["PipelineNotFound"]
