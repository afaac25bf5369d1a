"""A quota that keeps a step's pod away: the API server is asked for its words, and not too often."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from mlpipeline_operator import names
from mlpipeline_operator.build.steps import sample_pod
from mlpipeline_operator.room import RoomInquiry
from mlpipeline_operator.status.observed import Observed
from mlpipeline_operator.status.pods import PodView, newest_pods
from mlpipeline_operator.status.run import run_status
from tests.unit.operator.engine.test_cluster import Server, answer, connected, status
from tests.unit.operator.status import objects
from tests.unit.operator.status.objects import DAG_ID, LATER, NOW, RUN_ID, seen_by_airflow

Body = dict[str, Any]
WORDS = "exceeded quota: small, requested: pods=1, used: pods=3, limited: pods=3"
FULL = status(403, f'pods "digits-train" is forbidden: {WORDS}')
SOON = NOW + timedelta(seconds=4)
IMAGE = {"image": "images.test/tool:1"}


def launcher(pod: Body) -> Body:
    metadata = {**pod["metadata"], "name": "launcher", "labels": {names.ROLE_LABEL: names.LAUNCHER_ROLE}}
    return {**pod, "metadata": {**metadata, "creationTimestamp": "2026-11-22T12:00:00Z"}}


async def asked(
    server: Server, *pods: Body, now: Any = LATER, state: str = "running", **spec: Any
) -> tuple[dict[str, PodView], float | None]:
    async with connected(server) as cluster:
        return await RoomInquiry().refused(
            cluster,
            objects.pipeline_value(**spec),
            seen_by_airflow(state),
            newest_pods(pods, DAG_ID, RUN_ID),
            now,
        )


async def test_a_step_without_a_pod_is_queued_with_the_quotas_words_since_its_run_began() -> None:
    server = Server(FULL)
    found, again = await asked(server)
    view = found["train"]
    assert (view.state, view.message, view.created_at) == ("Queued", WORDS, "2026-11-22T12:00:00Z")
    assert again is not None
    [(method, path, query)] = server.requests
    assert (method, path, query["dryRun"]) == ("POST", "/api/v1/namespaces/research/pods", "All")

    seen = Observed(run=seen_by_airflow("running"), pods=found)
    told = run_status(objects.run(), objects.pipeline_value(), RUN_ID, seen, now=LATER)
    assert (told["state"], told["message"]) == ("Queued", WORDS)
    assert "pod" not in told["steps"][0]


@pytest.mark.parametrize("act", [answer({}), status(422, "Invalid"), status(500), status(403, "no rights")])
async def test_without_a_quota_in_the_way_nothing_is_told_and_it_is_asked_again(act: Any) -> None:
    found, again = await asked(Server(act))
    assert found == {}
    assert again is not None


@pytest.mark.parametrize("state", ["queued", "failed", "success"])
async def test_a_run_that_airflow_has_not_begun_or_has_ended_is_not_asked_for(state: str) -> None:
    server = Server(FULL)
    assert await asked(server, state=state) == ({}, None)
    assert server.requests == []


async def test_a_pod_has_the_time_that_it_usually_takes() -> None:
    server = Server(FULL)
    found, again = await asked(server, now=SOON)
    assert (found, again, server.requests) == ({}, 6.0, [])


@pytest.mark.parametrize("pod", [objects.unschedulable(), objects.running(), objects.ended(1)])
async def test_a_pod_that_is_there_speaks_for_itself(pod: Body) -> None:
    server = Server(FULL)
    assert await asked(server, pod) == ({}, None)
    assert server.requests == []


async def test_a_launcher_that_cannot_make_its_steps_pod_stands_for_it() -> None:
    steps = [{"name": "train", **IMAGE}]
    found, _ = await asked(Server(FULL), launcher(objects.running()), training=None, steps=steps)
    view = found["train"]
    assert (view.name, view.state, view.message) == ("launcher", "Queued", WORDS)


async def test_a_step_is_due_only_when_those_before_it_have_succeeded() -> None:
    steps = [{"name": "train", **IMAGE}, {"name": "report", **IMAGE, "dependsOn": ["train"]}]
    server = Server(FULL)
    found, _ = await asked(server, objects.running(), training=None, steps=steps)
    assert (found, server.requests) == ({}, [])
    found, _ = await asked(server, objects.ended(0), training=None, steps=steps)
    assert found["report"].created_at == "2026-11-22T12:01:04Z"


async def test_looking_often_asks_once() -> None:
    server = Server(FULL)
    inquiry = RoomInquiry()
    async with connected(server) as cluster:
        for _ in range(5):
            found, _ = await inquiry.refused(
                cluster, objects.pipeline_value(), seen_by_airflow("running"), {}, LATER
            )
            assert found["train"].message == WORDS
    assert len(server.requests) == 1


def test_the_pod_that_is_asked_for_is_as_large_as_the_one_that_is_missing() -> None:
    large = {"limits": {"memory": "4Gi"}}

    def resources(*, launched: bool, **spec: Any) -> Body:
        value = objects.pipeline_value(**spec)
        pod = json.loads(json.dumps(sample_pod(value, value.steps[0], launched=launched)))
        [container] = pod["spec"]["containers"]
        found: Body = container["resources"]
        return found

    training = {"dataset": "mnist", "resources": large}
    steps = {"training": None, "steps": [{"name": "train", **IMAGE, "resources": large}]}
    assert resources(launched=False, training=training) == large
    assert "cpu" in resources(launched=False)["requests"], "what a worker asks for by itself"
    assert "cpu" in resources(launched=False, **steps)["requests"], "the launcher comes first"
    assert resources(launched=True, **steps) == large
