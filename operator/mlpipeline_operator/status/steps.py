"""The steps of a run: from their pods how they get going, from Airflow how they ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlpipeline_operator.api.steps import MOST_STEPS
from mlpipeline_operator.status.observed import Observed, iso, result_of
from mlpipeline_operator.status.pods import EVICTED, PodView
from mlpipeline_operator.values import ContainerStep, PipelineValue

if TYPE_CHECKING:
    from mlpipeline_operator.airflow import TaskInstance

__all__ = ["run_steps"]

Body = Mapping[str, Any]

_TASK_STATES = {
    "success": "Succeeded",
    "failed": "Failed",
    "upstream_failed": "Skipped",
    "skipped": "Skipped",
    "removed": "Skipped",
    "scheduled": "Queued",
    "queued": "Queued",
    "running": "Running",
    "deferred": "Running",
    "up_for_retry": "Retrying",
}


def run_steps(pipeline: PipelineValue, previous: Body, seen: Observed) -> list[dict[str, Any]]:
    """Each step of a run as the status tells it.

    Args:
        pipeline: The validated pipeline.
        previous: The run's status until now.
        seen: The observations.
    """
    found = (seen.run.tasks if seen.run else None) or seen.tasks
    tasks = {task.task_id: task for task in found}
    # The steps of a DAG of the user's are its tasks, in the order in which they began.
    began = sorted(found, key=lambda task: (iso(task.started_at) or "~", task.task_id))
    names = list(dict.fromkeys(task.task_id for task in began))[:MOST_STEPS]
    if pipeline.user_dag is None:
        names = [step.name for step in pipeline.steps]
    before = {step["name"]: step for step in previous.get("steps") or ()}
    steps = [
        _step(name, tasks.get(name), seen.pods.get(name), before.get(name, {}), result_of(name, seen))
        for name in names
    ]
    return [_retrying(step, pipeline, previous, seen) for step in steps]


def _step(
    name: str, task: TaskInstance | None, pod: PodView | None, before: Body, result: Body
) -> dict[str, Any]:
    state = before.get("state", "Pending")
    step: dict[str, Any] = {"name": name}
    if pod is not None:
        state = pod.state
        step |= {"pod": pod.name, "startedAt": pod.started_at, "finishedAt": pod.finished_at}
        step |= {"attempt": pod.attempt, "exitCode": pod.exit_code, "message": pod.message}
    else:
        step |= {key: before.get(key) for key in ("attempt", "pod", "startedAt", "finishedAt", "exitCode")}
    if task is not None:
        if pod is None:
            step["attempt"] = step.get("attempt") or task.try_number or None
            step["startedAt"] = step.get("startedAt") or iso(task.started_at)
        told = _TASK_STATES.get(task.state or "")
        # Airflow has the last word on how a step ended, the pod on how it gets going.
        if told is not None and not (told in ("Running", "Queued") and pod is not None):
            state = told
    if state in ("Succeeded", "Failed"):
        # A worker's pod outlives its task by seconds, and ends with 0 also when the training failed. The task
        # of a step with a pod of its own outlives that.
        ends = [step["finishedAt"], iso(task.finished_at) if task is not None else None]
        step["finishedAt"] = min((each for each in ends if each), default=None)
        step["exitCode"] = _exit_code(state, step["exitCode"], result)
    step["state"] = state
    told = before.get("message") or ""
    if told.startswith(EVICTED) and state != "Succeeded" and step.get("attempt") == before.get("attempt"):
        step["message"] = told
    return {key: value for key, value in step.items() if value not in (None, "")}


def _retrying(
    step: dict[str, Any], pipeline: PipelineValue, previous: Body, seen: Observed
) -> dict[str, Any]:
    """A failed attempt of a run that goes on in Airflow is not the step's end."""
    pod = seen.pods.get(step["name"])
    if step["state"] != "Failed" or pod is None or (seen.run is not None and seen.run.finished):
        return step
    own = {each.name: each.retries for each in pipeline.steps if isinstance(each, ContainerStep)}
    retries = own.get(step["name"])
    retries = pipeline.policy.retries if retries is None else retries
    tries_left = pod.attempt <= retries or pod.attempt == previous.get("resumedFrom")
    return {**step, "state": "Retrying"} if tries_left else step


def _exit_code(state: str, of_pod: int | None, result: Body) -> int | None:
    """The training's own exit code, else its container's where that fits how the step ended."""
    told = (result.get("failure") or {}).get("exitCode", "")
    if state == "Succeeded":
        return 0
    return int(told) if told.removeprefix("-").isdecimal() else (of_pod or None)
