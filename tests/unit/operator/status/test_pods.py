"""What is read from a step's pod."""

from typing import Any

import pytest

from mlpipeline_operator import names
from mlpipeline_operator.status.pods import newest_pods, parse_result, view_pod
from tests.unit.operator.status import objects
from tests.unit.operator.status.objects import DAG_ID, RESULT, RUN_ID

Body = dict[str, Any]


@pytest.mark.parametrize(
    ("pod", "state"),
    [
        (objects.pod(), "Queued"),
        (objects.pod(phase="Pending"), "Queued"),
        (objects.unschedulable(), "Queued"),
        (objects.waiting("ContainerCreating"), "PullingImage"),
        (objects.waiting("ImagePullBackOff", "Back-off pulling image"), "PullingImage"),
        (objects.running(), "Running"),
        (objects.ended(0, RESULT), "Succeeded"),
        (objects.ended(1), "Failed"),
        (objects.pod(phase="Failed", reason="Evicted", message="The node was low on memory."), "Failed"),
    ],
)
def test_the_state_of_a_step_follows_its_pod(pod: Body, state: str) -> None:
    assert view_pod(pod).state == state


def test_an_unschedulable_pod_tells_it_in_the_schedulers_words() -> None:
    assert view_pod(objects.unschedulable()).message == "0/3 nodes are available: 3 Insufficient memory."


def test_an_image_that_cannot_be_pulled_is_told_in_the_kubelets_words() -> None:
    view = view_pod(objects.waiting("ImagePullBackOff", 'Back-off pulling image "images.test/typo:1"'))
    assert view.message == 'ImagePullBackOff: Back-off pulling image "images.test/typo:1"'
    assert view.reason == "ImagePullBackOff"


def test_a_container_that_is_being_created_needs_no_message() -> None:
    assert view_pod(objects.waiting("ContainerCreating")).message == ""


def test_an_ended_pod_tells_when_and_how_it_ended() -> None:
    view = view_pod(objects.ended(3))
    assert (view.exit_code, view.started_at, view.finished_at) == (
        3,
        "2026-11-22T12:00:03Z",
        "2026-11-22T12:01:04Z",
    )


def test_the_result_is_that_of_the_step_and_not_of_a_sidecar() -> None:
    result = view_pod(objects.ended(0, RESULT)).result
    assert (result["metrics"], result["model"]) == (RESULT["metrics"], RESULT["model"])


def test_the_pods_own_reason_says_more_than_its_containers() -> None:
    pod = objects.ended(137, reason="Error", message="The node was low on memory.")
    pod["status"]["reason"] = "Evicted"
    view = view_pod(pod)
    assert (view.reason, view.message) == ("Evicted", "The node was low on memory.")


@pytest.mark.parametrize("text", [None, "", "killed", "[1, 2]", '"schema"', '{"other": 1}', '{"schema": 1'])
def test_what_is_not_the_trainers_result_is_none(text: str | None) -> None:
    assert parse_result(text) == {}


def test_the_newest_attempt_counts() -> None:
    pods = [objects.ended(1, attempt=2), objects.running(attempt=10), objects.ended(1, attempt=1)]
    (view,) = newest_pods(pods, DAG_ID, RUN_ID).values()
    assert (view.attempt, view.state) == (10, "Running")


def test_pods_of_other_runs_and_dags_do_not_count() -> None:
    other_run, other_dag = objects.running(), objects.running()
    other_run["metadata"]["annotations"]["run_id"] = names.dag_run_id("digits-1", "another-uid")
    other_dag["metadata"]["annotations"]["dag_id"] = "elsewhere.digits"
    bare = objects.running()
    del bare["metadata"]["annotations"]
    assert newest_pods([other_run, other_dag, bare], DAG_ID, RUN_ID) == {}


def test_a_pod_whose_attempt_cannot_be_read_counts_as_the_first() -> None:
    pod = objects.running()
    pod["metadata"]["annotations"]["try_number"] = "?"
    assert view_pod(pod).attempt == 1


def test_a_task_that_failed_in_a_worker_that_ended_well_is_a_failed_step() -> None:
    message = '{"schema":1,"state":"Failed","failure":{"reason":"Exception","message":"ValueError: no"}}'
    terminated = {"exitCode": 0, "reason": "Completed", "message": message}
    status = {
        "phase": "Succeeded",
        "containerStatuses": [{"name": "base", "state": {"terminated": terminated}}],
    }

    view = view_pod({"metadata": {"name": "pod", "annotations": {"task_id": "train"}}, "status": status})

    assert (view.state, view.reason) == ("Failed", "")
    assert view.result["failure"]["message"] == "ValueError: no"
