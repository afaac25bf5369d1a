"""A step with an image of its own has two pods: what they tell together."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlpipeline_operator import names
from mlpipeline_operator.status.observed import Observed
from mlpipeline_operator.status.pods import PodView, newest_pods
from mlpipeline_operator.status.run import run_status
from tests.unit.operator.status import objects
from tests.unit.operator.status.objects import DAG_ID, LATER, RUN_ID, seen_by_airflow

Body = dict[str, Any]


def launcher(pod: Body) -> Body:
    metadata = {**pod["metadata"], "name": "launcher", "labels": {names.ROLE_LABEL: names.LAUNCHER_ROLE}}
    return {**pod, "metadata": metadata}


def view(*pods: Body) -> PodView:
    return newest_pods(pods, DAG_ID, RUN_ID)["train"]


@pytest.mark.parametrize(
    "step", [objects.unschedulable(), objects.running(), objects.ended(3), objects.ended(0)]
)
@pytest.mark.parametrize("other", [objects.running(), objects.ended(0), objects.ended(1)])
def test_the_steps_own_pod_has_the_last_word(step: Body, other: Body) -> None:
    alone = view(step)
    assert view(step, launcher(other)) == alone
    assert view(launcher(other), step) == alone


def test_a_step_whose_launcher_has_only_started_is_queued() -> None:
    found = view(launcher(objects.running()))
    assert (found.state, found.started_at) == ("Queued", None)


def test_a_launcher_that_finds_no_room_says_so() -> None:
    assert view(launcher(objects.unschedulable())).message.startswith("0/3 nodes are available")


def test_a_step_that_never_got_a_pod_has_its_cause_from_the_launcher() -> None:
    failure = {"reason": "ErrImagePull", "message": "no such image"}
    found = view(launcher(objects.ended(0, {"schema": 1, "failure": failure})))
    assert (found.state, found.result["failure"]) == ("Failed", failure)


def test_a_retry_begins_anew_though_the_earlier_pod_is_still_there() -> None:
    found = view(objects.ended(3), launcher(objects.ended(0)), launcher(objects.running(attempt=2)))
    assert (found.state, found.attempt) == ("Queued", 2)


def test_a_later_launcher_that_took_over_a_running_pod_tells_of_that_pod() -> None:
    found = view(objects.running(), launcher(objects.ended(1)), launcher(objects.running(attempt=2)))
    assert (found.name, found.state, found.attempt) == ("digits-train-1", "Running", 2)


def status_of(*pods: Body, state: str = "running") -> Body:
    steps = [
        {"name": "split", "image": "tools:1"},
        {"name": "train", "image": "tools:1", "dependsOn": ["split"]},
        {"name": "test", "command": ["true"], "dependsOn": ["train"]},
    ]
    value = objects.pipeline_value(training=None, steps=steps)
    seen = Observed(run=seen_by_airflow(state), pods=newest_pods(pods, DAG_ID, RUN_ID))
    return run_status(objects.run(), value, RUN_ID, seen, now=LATER)


def of_step(step: str, pod: Body) -> Body:
    annotations = {**pod["metadata"]["annotations"], "task_id": step}
    return {**pod, "metadata": {**pod["metadata"], "name": f"digits-{step}", "annotations": annotations}}


def test_each_step_has_its_state_pod_times_and_attempt() -> None:
    status = status_of(of_step("split", objects.ended(0)), objects.running(attempt=2))
    assert status["steps"] == [
        {
            "name": "split",
            "state": "Succeeded",
            "attempt": 1,
            "pod": "digits-split",
            "startedAt": "2026-11-22T12:00:03Z",
            "finishedAt": "2026-11-22T12:01:04Z",
            "exitCode": 0,
        },
        {
            "name": "train",
            "state": "Running",
            "attempt": 2,
            "pod": "digits-train-2",
            "startedAt": "2026-11-22T12:00:03Z",
        },
        {"name": "test", "state": "Pending"},
    ]
    assert (status["state"], status["progress"]["percent"]) == ("Running", 33)


def test_metrics_of_all_steps_come_together_and_the_later_steps_count() -> None:
    first = of_step("split", objects.ended(0, {"metrics": {"rows": 10, "auc": 0.5}}))
    second = objects.ended(0, {"metrics": {"auc": 0.9}, "outputs": {"threshold": "0.3"}})
    status = status_of(first, second, state="success")
    assert {each["name"]: each["value"] for each in status["metrics"]} == {"rows": "10", "auc": "0.9"}


def test_a_failed_step_is_told_by_the_last_line_of_its_log() -> None:
    log = 'Traceback (most recent call last):\n  File "fit.py", line 3\nValueError: no rows\n'
    status = status_of(of_step("split", objects.ended(0)), objects.ended(3, log), state="failed")
    assert status["failure"] == {
        "step": "train",
        "reason": "Error",
        "message": "ValueError: no rows",
        "logs": "kubectl -n research logs digits-train-1 -c base",
    }


def test_a_step_out_of_memory_names_the_field_to_change() -> None:
    status = status_of(objects.ended(137, reason="OOMKilled"), state="failed")
    assert status["failure"]["reason"] == "OOMKilled"
    assert status["failure"]["message"].endswith("raise steps[train].resources.limits.memory")


def test_what_is_no_json_object_is_no_result() -> None:
    status = status_of(of_step("split", objects.ended(0, json.dumps(["metrics"]))), state="success")
    assert "metrics" not in status
