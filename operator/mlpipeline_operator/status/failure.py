"""Why a run failed: the true cause, in one word and in words, with the command that shows the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from mlpipeline_operator.status.observed import Observed, result_of
from mlpipeline_operator.status.pods import EVICTED
from mlpipeline_operator.values import PipelineValue, TrainingStep

__all__ = ["cause_of_failure"]

Body = Mapping[str, Any]


def cause_of_failure(
    body: Body, pipeline: PipelineValue, steps: Sequence[Body], seen: Observed
) -> dict[str, Any] | None:
    """The true cause: the operator's deed, the trainer's words, the kubelet's, else that there is none."""
    if seen.stop is not None:
        of = {"step": seen.stop.step} if seen.stop.step else {}
        return {**of, "reason": seen.stop.reason, "message": seen.stop.message}
    if _missed_deadline(pipeline, seen):
        limit = timedelta(seconds=pipeline.policy.deadline or 0)
        return {"reason": "DeadlineExceeded", "message": f"stopped after {limit} (runPolicy.deadline)"}
    failed = next((step for step in steps if step["state"] == "Failed"), None)
    if failed is None:
        return {"reason": "AirflowRunFailed", "message": "Airflow ended the run as failed; no step failed"}
    pod = seen.pods.get(failed["name"])
    failure: dict[str, Any] = {"step": failed["name"]}
    told = result_of(failed["name"], seen).get("failure") or {}
    if failed.get("message", "").startswith(EVICTED):
        failure |= {"reason": "Evicted", "message": failed["message"]}
    elif (told.get("reason") or (pod and pod.reason)) == "OOMKilled":
        failure |= {"reason": "OOMKilled", "message": _oom_message(failed["name"], pipeline)}
    elif told:
        failure |= {"reason": told.get("reason") or "Error", "message": told.get("message") or ""}
    elif pod is not None and (pod.message or pod.exit_code):
        words = pod.message or f"the step ended with exit code {pod.exit_code}"
        failure |= {"reason": pod.reason or "Error", "message": words}
    else:
        words = "the task failed in Airflow and its pod left no result: see the log"
        failure |= {"reason": "TaskFailed", "message": words}
    if pod is not None:
        failure["logs"] = f"kubectl -n {body['metadata']['namespace']} logs {pod.name} -c base"
    return failure


def _missed_deadline(pipeline: PipelineValue, seen: Observed) -> bool:
    """Whether Airflow ended the run for its time: it skips the tasks then, and none has failed."""
    run, deadline = seen.run, pipeline.policy.deadline
    if deadline is None or run is None or run.started_at is None or run.finished_at is None:
        return False
    if any(task.state == "failed" for task in run.tasks or ()):
        return False
    return (run.finished_at - run.started_at).total_seconds() >= deadline


def _oom_message(step: str, pipeline: PipelineValue) -> str:
    if pipeline.user_dag is not None:
        return f"task {step} needed more memory than the limit of its pod"
    place = "training" if isinstance(pipeline.steps[0], TrainingStep) else f"steps[{step}]"
    return f"step {step} needed more memory than its limit: raise {place}.resources.limits.memory"
