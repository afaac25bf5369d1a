"""A run of a user's own DAG: its steps are its tasks."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from mlpipeline_operator.airflow import RunView
from mlpipeline_operator.status.observed import Observed
from mlpipeline_operator.status.pods import newest_pods
from mlpipeline_operator.status.run import run_status
from tests.unit.operator.status import objects
from tests.unit.operator.status.objects import DAG_ID, LATER, NOW, RUN_ID, seen_by_airflow
from tests.unit.operator.status.schema import assert_accepted

Body = dict[str, Any]
VALUE = objects.pipeline_value(training=None, dag={"files": {"a.py": f'DAG("{DAG_ID}")'}})


def task(task_id: str, state: str | None, minute: int | None = None) -> Any:
    (found,) = seen_by_airflow("running", "running").tasks or ()
    began = NOW + timedelta(minutes=minute) if minute is not None else None
    return replace(found, task_id=task_id, state=state, started_at=began, finished_at=None)


def status_of(*tasks: Any, pods: tuple[Body, ...] = (), run: RunView | None = None) -> Body:
    seen = Observed(
        run=run or seen_by_airflow("running"), pods=newest_pods(pods, DAG_ID, RUN_ID), tasks=tasks
    )
    status = run_status(objects.run(), VALUE, RUN_ID, seen, now=LATER)
    assert_accepted("MLPipelineRun", status)
    return status


def test_the_tasks_are_the_steps_in_the_order_in_which_they_began() -> None:
    status = status_of(task("c", None), task("b", "running", 2), task("a", "success", 1), task("d", "queued"))
    assert [(step["name"], step["state"]) for step in status["steps"]] == [
        ("a", "Succeeded"),
        ("b", "Running"),
        ("c", "Pending"),
        ("d", "Queued"),
    ]
    assert status["steps"][0]["startedAt"] == "2026-11-22T12:01:00Z"
    assert (status["state"], status["progress"]["percent"]) == ("Running", 25)


def test_a_tasks_pod_is_told_and_its_result_counts() -> None:
    pods = (objects.ended(0, {"metrics": {"auc": 0.9}}),)
    status = status_of(task("train", "success", 1), pods=pods)
    assert status["steps"][0]["pod"] == "digits-train-1"
    assert status["metrics"] == [{"name": "auc", "value": "0.9"}]


def test_a_task_with_a_long_name_has_its_place() -> None:
    name = "group." + "x" * 200
    assert status_of(task(name, "running", 1))["steps"][0]["name"] == name


def test_a_failed_task_is_the_failed_step() -> None:
    ended = RunView(seen_by_airflow("failed").run, (task("a", "success", 1), task("b", "failed", 2)))
    status = status_of(run=ended)
    assert (status["state"], status["failure"]["step"]) == ("Failed", "b")


def test_only_so_many_tasks_are_told() -> None:
    assert len(status_of(*(task(f"t{number:03}", "running", number) for number in range(100)))["steps"]) == 64
