"""Reconcile an ``MLPipelineRun``: hand it to Airflow once, follow it there, tell how it went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlpipeline_operator import names
from mlpipeline_operator.airflow import RunView, TaskInstance
from mlpipeline_operator.build.meta import owner_reference
from mlpipeline_operator.build.run import is_restored, trigger_of
from mlpipeline_operator.cluster import MissingError
from mlpipeline_operator.context import Context, PlacedPipeline, owner_of
from mlpipeline_operator.errors import NotReadyError, SpecError
from mlpipeline_operator.kinds import AIRFLOW, PIPELINE, RUN
from mlpipeline_operator.reconcile.finalizing import finalize_run
from mlpipeline_operator.reconcile.stopping import pending_deadline, stop_reason, suspension
from mlpipeline_operator.routing import is_gone, run_pipeline
from mlpipeline_operator.status.observed import FAILED, FINISHED, SUPERSEDED, SUSPENDED, Observed
from mlpipeline_operator.status.pipeline import airflow_is_ready
from mlpipeline_operator.status.pods import ENDED, PodView, newest_pods
from mlpipeline_operator.status.run import (
    ended_status,
    is_finished,
    is_suspended,
    resumed_status,
    run_status,
    untold_seconds,
)
from mlpipeline_operator.store import Body
from mlpipeline_operator.validate import canonical_parameters, validate_run
from mlpipeline_operator.values import PipelineValue, RunValue, TrainingStep

__all__ = ["reconcile_run"]

_TASKS_SECONDS = 5.0
_RESUME_SECONDS = 0.1


async def reconcile_run(context: Context, namespace: str, name: str) -> float | None:
    """Bring one run forward; level-triggered."""
    body = context.store.get(RUN, namespace, name)
    if body is None:
        return None
    if "deletionTimestamp" in body["metadata"]:
        await finalize_run(context, body)
        return None
    if is_finished(body):
        return None
    pipeline = context.store.get(PIPELINE, namespace, run_pipeline(body))
    if pipeline is not None and is_restored(body, pipeline) and not body.get("status"):
        message = "it is of an earlier MLPipeline of this name, from a backup: nothing is run again"
        status = ended_status(body, SUPERSEDED, "Restored", message, now=context.now())
        await context.write_status(body, status)
        return None
    if names.FINALIZER not in (body["metadata"].get("finalizers") or ()):
        await _add_finalizer(context, body)
    try:
        value = validate_run(body)
        placed = await _pipeline(context, body)
        if placed is not None:
            return await _advance(context, body, value, placed)
    except SpecError as error:
        status = ended_status(body, FAILED, error.reason, error.message, now=context.now())
        await context.write_status(body, status)
    return None


async def _pipeline(context: Context, body: Body) -> PlacedPipeline | None:
    """The pipeline that the run is of; ``None`` while it is not valid or has not been looked at yet."""
    namespace, name = body["metadata"]["namespace"], run_pipeline(body)
    if context.store.get(PIPELINE, namespace, name) is None:
        try:
            await context.cluster.get(PIPELINE, namespace, name)
        except MissingError as error:
            words = f"there is no MLPipeline {name!r} in namespace {namespace}"
            raise SpecError(words, reason="PipelineNotFound") from error
        # Each kind has a watch of its own: a run that was applied with its pipeline may be seen first.
        raise NotReadyError(f"MLPipeline {name} has not been seen yet", reason="PipelineNotSeen")
    return context.pipelines.get((namespace, name))


async def _advance(context: Context, body: Body, value: RunValue, placed: PlacedPipeline) -> float | None:
    """Hand the run to Airflow, or follow it there; returns when to look again, in seconds."""
    pipeline = placed.value
    dag_run_id = (body.get("status") or {}).get("dagRunId")
    if dag_run_id is None and not value.is_mirrored:
        kept = _kept_from_starting(context, body, value, placed)
        if kept is not None and kept["state"] in FINISHED and await _is_in_airflow(context, value, placed):
            return await _follow(context, body, value, placed)
        if kept is not None:
            await context.write_status(body, kept)
            return None
        conf = {
            "run": {"name": value.owner.name, "uid": value.owner.uid},
            "parameters": _merged(pipeline, value),
        }
        await context.connections.trigger(
            pipeline.owner.namespace, pipeline.airflow, pipeline.dag_id, value.dag_run_id, conf
        )
    return await _follow(context, body, value, placed)


def _kept_from_starting(
    context: Context, body: Body, value: RunValue, placed: PlacedPipeline
) -> dict[str, Any] | None:
    """Status of a run that is not to be handed to Airflow now, or at all."""
    now = context.now()
    if _is_superseded(body, placed):
        message = "the pipeline's workload changed before this run was started"
        return ended_status(body, SUPERSEDED, SUPERSEDED, message, now=now)
    stop = stop_reason(context, body, value, placed.value, {})
    if stop is not None and stop.state != SUSPENDED:
        return ended_status(body, stop.state, stop.reason, stop.message, now=now)
    waiting = suspension(value, placed.value) or _waiting_for(context, placed)
    if waiting is None:
        return None
    return run_status(body, placed.value, None, Observed(waiting=waiting), now=now)


async def _follow(context: Context, body: Body, value: RunValue, placed: PlacedPipeline) -> float | None:
    """Tell how a run fares that Airflow has, and stop or resume it there."""
    if is_suspended(body) and value.suspend and not value.cancel:
        return None
    wanted, placed = placed.value.airflow, _where_it_runs(placed, body)
    pipeline, dag_run_id = placed.value, value.dag_run_id
    where = (pipeline.owner.namespace, pipeline.airflow, pipeline.dag_id, dag_run_id)
    if pipeline.airflow != wanted and is_gone(context.store.get(AIRFLOW, where[0], pipeline.airflow)):
        message = f"Airflow {pipeline.airflow}, which had the run, was deleted"
        status = ended_status(body, FAILED, "AirflowDeleted", message, now=context.now())
        await context.write_status(body, status)
        return None
    context.connections.await_run(*where)
    if context.connections.run_is_absent(*where):
        message = "somebody deleted the run in Airflow"
        status = ended_status(body, FAILED, "DeletedInAirflow", message, now=context.now())
        await context.write_status(body, status)
        return None
    if is_suspended(body) and not value.suspend and not value.cancel:
        await context.connections.resume_run(*where)
        await context.write_status(body, resumed_status(body, now=context.now()))
        return None
    seen = await _observe(context, placed, dag_run_id)
    if (untold := untold_seconds(seen, context.now())) > 0:
        return untold
    refused, again = await context.room.refused(context.cluster, pipeline, seen.run, seen.pods, context.now())
    seen = replace(seen, pods={**seen.pods, **refused})
    stop = stop_reason(context, body, value, pipeline, seen.pods)
    seen = replace(seen, stop=stop)
    status = run_status(body, pipeline, dag_run_id, seen, now=context.now())
    # First the reason, then the deed: a restart between them must not take the run for a failed one.
    await context.write_status(body, status)
    if status["state"] in {*FINISHED, SUSPENDED}:
        context.connections.forget_run(*where)
        # Somebody may have wanted it to go on since it was stopped.
        return _RESUME_SECONDS if status["state"] == SUSPENDED and not value.suspend else None
    if stop is not None:
        await context.connections.stop_run(*where)
    elif (due := pending_deadline(pipeline, seen.pods)) is not None:
        left = max((due[0] - context.now()).total_seconds(), 0.0) + 0.1
        return left if again is None else min(left, again)
    # Nothing tells of the tasks of a DAG of the user's.
    return _TASKS_SECONDS if pipeline.user_dag is not None else again


def _where_it_runs(placed: PlacedPipeline, body: Body) -> PlacedPipeline:
    """The pipeline, in the Airflow and by the dag_id that this run was started with: both may be edited."""
    told = body.get("status") or {}
    value = placed.value
    airflow, dag_id = told.get("airflow") or value.airflow, told.get("dagId") or value.dag_id
    return replace(placed, value=replace(value, airflow=airflow, dag_id=dag_id))


async def _is_in_airflow(context: Context, value: RunValue, placed: PlacedPipeline) -> bool:
    """Whether Airflow has the run already, though the answer to its trigger was lost."""
    pipeline = placed.value
    namespace, airflow = pipeline.owner.namespace, pipeline.airflow
    if not airflow_is_ready(context.store.get(AIRFLOW, namespace, airflow), airflow)[0]:
        return False
    return await context.connections.has_run(namespace, airflow, pipeline.dag_id, value.dag_run_id)


def _merged(pipeline: PipelineValue, value: RunValue) -> dict[str, str]:
    """The run's parameters over the pipeline's; two names for one environment variable are an error."""
    return canonical_parameters({**pipeline.parameters, **value.parameters})


def _is_superseded(body: Body, placed: PlacedPipeline) -> bool:
    """A run for an earlier workload must not train the later one under its own name."""
    wanted = (body["metadata"].get("annotations") or {}).get(names.RUN_HASH_ANNOTATION)
    return trigger_of(body) == "Change" and wanted is not None and wanted != placed.value.run_hash


def _waiting_for(context: Context, placed: PlacedPipeline) -> tuple[str, str] | None:
    """State and message of what keeps the run from being handed to Airflow."""
    pipeline = placed.value
    namespace = pipeline.owner.namespace
    ready, message = airflow_is_ready(
        context.store.get(AIRFLOW, namespace, pipeline.airflow), pipeline.airflow
    )
    if not ready:
        return "WaitingForAirflow", message
    dag = context.connections.dag(namespace, pipeline.airflow, pipeline.dag_id)
    if dag is None or placed.dag_hash not in dag.hashes:
        return "WaitingForDag", "Airflow has not parsed this pipeline's DAG yet"
    return None


async def _observe(context: Context, placed: PlacedPipeline, dag_run_id: str) -> Observed:
    pipeline = placed.value
    namespace, dag_id = pipeline.owner.namespace, pipeline.dag_id
    run = context.connections.run(namespace, pipeline.airflow, dag_id, dag_run_id)
    pods = newest_pods(_pods(context, pipeline), dag_id, dag_run_id)
    tasks: tuple[TaskInstance, ...] = ()
    if pipeline.user_dag is not None and run is not None and not run.finished:
        tasks = await context.connections.task_instances(namespace, pipeline.airflow, dag_id, dag_run_id)
    results: dict[str, Any] = {}
    if run is not None and run.finished:
        results = await _results_from_xcom(context, placed, run, pods)
    dag = context.connections.dag(namespace, pipeline.airflow, dag_id)
    paused = dag is not None and dag.paused
    return Observed(run=run, pods=pods, results=results, tasks=tasks, paused=paused)


def _pods(context: Context, pipeline: PipelineValue) -> list[Body]:
    """The pods that may be of the pipeline's steps; those of a DAG of the user's name only their Airflow."""
    namespace = pipeline.owner.namespace
    if pipeline.user_dag is None:
        return list(context.store.labelled(names.PIPELINE_LABEL, namespace, pipeline.owner.name, "Pod"))
    return list(context.store.labelled(names.AIRFLOW_LABEL, namespace, pipeline.airflow, "Pod"))


async def _results_from_xcom(
    context: Context, placed: PlacedPipeline, run: RunView, pods: Mapping[str, PodView]
) -> dict[str, Any]:
    """Results as Airflow has kept them, of steps whose pods are gone or were not seen to end."""
    pipeline = placed.value
    found: dict[str, Any] = {}
    for step in pipeline.steps:
        pod = pods.get(step.name)
        if pod is not None and (pod.result or (pod.state in ENDED and not isinstance(step, TrainingStep))):
            continue
        value = await context.connections.xcom(
            pipeline.owner.namespace, pipeline.airflow, pipeline.dag_id, run.run.run_id, step.name, "result"
        )
        if isinstance(value, dict):
            found[step.name] = value
    return found


async def _add_finalizer(context: Context, body: Body) -> None:
    """A run that a user created goes with its pipeline, and when it goes it is cancelled in Airflow, too."""
    metadata = body["metadata"]
    finalizers = [*(metadata.get("finalizers") or ()), names.FINALIZER]
    patch: dict[str, Any] = {"finalizers": finalizers, "resourceVersion": metadata["resourceVersion"]}
    pipeline = context.store.get(PIPELINE, metadata["namespace"], run_pipeline(body))
    owners = metadata.get("ownerReferences") or []
    if pipeline is not None and all(each["uid"] != pipeline["metadata"]["uid"] for each in owners):
        # Not as its controller: that may be somebody else.
        patch["ownerReferences"] = [*owners, owner_reference(owner_of(pipeline)) | {"controller": False}]
    await context.patch_metadata(body, patch)
