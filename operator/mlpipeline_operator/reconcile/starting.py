"""Which runs there are to be: for a change, for a request, and for those that Airflow started by itself."""

from __future__ import annotations

from datetime import datetime, timedelta

from mlpipeline_operator import names
from mlpipeline_operator.build.run import (
    due_run,
    is_restored,
    mirrored_run,
    newest_number,
    pending_request,
    started_workload,
)
from mlpipeline_operator.context import Context
from mlpipeline_operator.kinds import AIRFLOW, PIPELINE, RUN
from mlpipeline_operator.routing import pipeline_airflow, run_of_pod
from mlpipeline_operator.status.conditions import timestamp
from mlpipeline_operator.store import Body
from mlpipeline_operator.values import PipelineValue

__all__ = ["mirror_runs", "mirrored_since", "start_due_run"]

# Runs that Airflow queued within so little time may be seen in another order.
_ORDER = timedelta(seconds=30)
# What happened in Airflow longer ago, while no operator was there, is not told any more.
_LONGEST_ABSENCE = timedelta(days=7)
_MARGIN = timedelta(minutes=10)


async def start_due_run(context: Context, body: Body, value: PipelineValue, runs: list[Body]) -> None:
    """Create the run that a change of the workload or the user's annotation asks for, and add it to ``runs``.

    One run is enough for both. While the pipeline is suspended, they wait.
    """
    if value.suspend:
        return
    started = started_workload(body, runs)
    is_new = value.policy.on_change and (started is None or started[0] != value.run_hash)
    request = pending_request(body, runs)
    if not is_new and request is None:
        return
    number = newest_number(body, runs) + 1
    while True:
        manifest = due_run(value, number, "Change" if request is None else "Request", request)
        run = await _create(context, manifest)
        # A name that something else has is passed over, be it a run of a deleted pipeline of this name.
        if _marks(run) == _marks(manifest) and not is_restored(run, body):
            runs.append(run)
            return
        number += 1


def _marks(run: Body) -> tuple[str | None, str | None]:
    annotations = run["metadata"].get("annotations") or {}
    return annotations.get(names.RUN_HASH_ANNOTATION), annotations.get(names.RUN_REQUEST_ANNOTATION)


async def mirror_runs(context: Context, body: Body, value: PipelineValue, runs: list[Body]) -> str | None:
    """Create the resources of runs that Airflow had first, and add them to ``runs``.

    Returns:
        The new watermark: a run that Airflow queued before it and that has no resource had one, and is not
        given another.
    """
    owner, watermark = value.owner, (body.get("status") or {}).get("mirroredUntil")
    airflow = context.store.get(AIRFLOW, owner.namespace, value.airflow)
    if airflow is None:
        return watermark
    _look_for(context, value, {str(run["metadata"]["name"]) for run in runs})
    earliest = datetime.fromisoformat(body["metadata"]["creationTimestamp"])
    if watermark is not None:
        earliest = max(earliest, datetime.fromisoformat(watermark) - _ORDER)
    newest = None
    for seen in context.connections.foreign_runs(owner.namespace, value.airflow, value.dag_id):
        queued = seen.queued_at or seen.started_at
        if queued is None or queued < earliest:
            continue
        newest = max(newest or queued, queued)
        name = names.foreign_run(owner.name, airflow["metadata"]["uid"], seen.run.run_id)
        if context.store.get(RUN, owner.namespace, name) is None:
            is_scheduled = seen.run.run_type == "scheduled"
            manifest = mirrored_run(value, name, seen.run.run_id, scheduled=is_scheduled)
            runs.append(await _create(context, manifest))
    if newest is None or (watermark is not None and newest <= datetime.fromisoformat(watermark)):
        return watermark
    return timestamp(newest)


def _look_for(context: Context, value: PipelineValue, known: set[str]) -> None:
    """Ask Airflow at once where a pod shows a run that nobody has told of yet."""
    owner = value.owner
    for pod in context.store.labelled(names.PIPELINE_LABEL, owner.namespace, owner.name, "Pod"):
        if (pod.get("status") or {}).get("phase") in ("Pending", "Running"):
            run = run_of_pod(context.store, pod)
            if run is not None and run not in known:
                context.connections.wake(owner.namespace, value.airflow)
                return


def mirrored_since(context: Context, namespace: str, airflow: str) -> datetime | None:
    """From when on Airflow's own runs must be read after a start: nobody has looked since then."""
    now = context.now()
    pipelines = [
        each for each in context.store.of_kind(PIPELINE, namespace) if pipeline_airflow(each) == airflow
    ]
    told = [(each.get("status") or {}).get("mirroredUntil") for each in pipelines]
    marks = [datetime.fromisoformat(mark) for mark in told if mark]
    created = [datetime.fromisoformat(each["metadata"]["creationTimestamp"]) for each in pipelines]
    since = max(marks) if marks else min(created, default=None)
    return max(since - _MARGIN, now - _LONGEST_ABSENCE) if since is not None else None


async def _create(context: Context, manifest: dict[str, object]) -> Body:
    """Create a run, or return the one of its name that is there."""
    created = await context.cluster.create(manifest)
    metadata = manifest["metadata"]
    assert isinstance(metadata, dict)
    run: Body = created or await context.cluster.get(RUN, metadata["namespace"], metadata["name"])
    context.store.put(run)
    context.enqueue((RUN, metadata["namespace"], metadata["name"]))
    return run
