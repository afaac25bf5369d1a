"""Why a run is to be stopped: cancelled, suspended, replaced by a newer one, or too long without room."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from mlpipeline_operator import names
from mlpipeline_operator.build.run import age
from mlpipeline_operator.context import Context
from mlpipeline_operator.kinds import RUN
from mlpipeline_operator.status.observed import CANCELLED, FAILED, FINISHED, SUSPENDED, Stop
from mlpipeline_operator.status.pods import PENDING, PodView
from mlpipeline_operator.store import Body
from mlpipeline_operator.values import PipelineValue, RunValue

__all__ = ["pending_deadline", "stop_reason", "suspension"]


def stop_reason(
    context: Context, body: Body, value: RunValue, pipeline: PipelineValue, pods: Mapping[str, PodView]
) -> Stop | None:
    """Why a run is to end, or to rest, before its time; ``None`` while it may go on.

    What was decided once holds until Airflow has done it; a run that is to go on after all is resumed then.
    Only a cancel comes before a suspension that was decided.
    """
    if value.cancel:
        return Stop(CANCELLED, "Cancelled", "cancelled by spec.cancel")
    decided = (body.get("status") or {}).get("stopping")
    if decided is not None and decided["state"] != SUSPENDED:
        return Stop(decided["state"], decided["reason"], decided["message"], decided.get("step"))
    newer = _replacement(context, body, pipeline)
    if newer is not None:
        return Stop(CANCELLED, "Replaced", f"run {newer} took its place (runPolicy.concurrency: Replace)")
    if value.suspend or decided is not None:
        return Stop(SUSPENDED, SUSPENDED, "suspended by spec.suspend; set it to false to go on")
    overdue = pending_deadline(pipeline, pods)
    if overdue is not None and overdue[0] <= context.now():
        limit = timedelta(seconds=pipeline.policy.pending_deadline)
        message = f"step {overdue[1].task_id} had not begun after {limit}: {overdue[1].message or 'no room'}"
        return Stop(FAILED, "PendingDeadlineExceeded", message, overdue[1].task_id)
    return None


def suspension(value: RunValue, pipeline: PipelineValue) -> tuple[str, str] | None:
    """State and message of a run that must not start now, if so."""
    if value.suspend:
        return SUSPENDED, "not started: spec.suspend is true"
    if pipeline.suspend and not value.is_mirrored:
        return SUSPENDED, f"not started: MLPipeline {pipeline.owner.name} is suspended"
    return None


def pending_deadline(pipeline: PipelineValue, pods: Mapping[str, PodView]) -> tuple[datetime, PodView] | None:
    """When the first of the pods that wait must have begun, and that pod."""
    waiting = [(pod.created_at, pod) for pod in pods.values() if pod.state in PENDING and pod.created_at]
    if not waiting:
        return None
    created, pod = min(waiting, key=lambda each: each[0] or "")
    limit = timedelta(seconds=pipeline.policy.pending_deadline)
    return datetime.fromisoformat(str(created)) + limit, pod


def _replacement(context: Context, body: Body, pipeline: PipelineValue) -> str | None:
    """Name of a newer run that takes this one's place."""
    if pipeline.policy.concurrency != "Replace":
        return None
    owner = pipeline.owner
    newer = [
        run
        for run in context.store.labelled(names.PIPELINE_LABEL, owner.namespace, owner.name, RUN)
        if age(run) > age(body) and _counts(run)
    ]
    return str(max(newer, key=age)["metadata"]["name"]) if newer else None


def _counts(run: Body) -> bool:
    """A run that never started, and will not now, replaces none."""
    if (run.get("status") or {}).get("dagRunId"):
        return True
    spec, state = run.get("spec") or {}, (run.get("status") or {}).get("state")
    return not (spec.get("suspend") or spec.get("cancel") or state in FINISHED)
