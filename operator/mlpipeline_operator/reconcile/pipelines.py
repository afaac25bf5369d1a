"""Reconcile an ``MLPipeline``: its DAG, its Airflow, and the run that a change of its workload asks for."""

from __future__ import annotations

from mlpipeline_operator import names
from mlpipeline_operator.airflow import AwaitedDag
from mlpipeline_operator.build.delivery import dag_file, delivery
from mlpipeline_operator.build.run import age, finished_marks, handled_request, is_restored, started_workload
from mlpipeline_operator.context import BUNDLE, Context, PlacedPipeline
from mlpipeline_operator.errors import NotReadyError, SpecError
from mlpipeline_operator.kinds import AIRFLOW, PIPELINE, RUN
from mlpipeline_operator.names import API_VERSION
from mlpipeline_operator.reconcile.claims import claim_dags, release_dags
from mlpipeline_operator.reconcile.history import expired_runs
from mlpipeline_operator.reconcile.starting import mirror_runs, start_due_run
from mlpipeline_operator.routing import pipeline_airflow
from mlpipeline_operator.status.external import undelivered
from mlpipeline_operator.status.observed import RUN_TO_ITS_END
from mlpipeline_operator.status.pipeline import (
    Placed,
    Started,
    airflow_is_ready,
    invalid_pipeline_status,
    known_parse,
    pipeline_status,
)
from mlpipeline_operator.store import Body
from mlpipeline_operator.validate import is_external, referenced_config_maps, validate_pipeline
from mlpipeline_operator.values import PipelineValue

__all__ = ["reconcile_pipeline"]


async def reconcile_pipeline(context: Context, namespace: str, name: str) -> float | None:
    """Bring one pipeline to what its spec says; level-triggered, so it may be called at any time."""
    body = context.store.get(PIPELINE, namespace, name)
    if body is None or "deletionTimestamp" in body["metadata"]:
        _forget(context, namespace, name)
        return None
    try:
        config_maps = await context.references.read(namespace, name, referenced_config_maps(body))
        value = validate_pipeline(body, context.settings.images, config_maps)
        return await _place(context, body, value)
    except (SpecError, NotReadyError) as error:
        context.pipelines.setdefault((namespace, name), None)
        context.enqueue((BUNDLE, namespace, pipeline_airflow(body)))
        await context.write_status(body, invalid_pipeline_status(body, error, now=context.now()))
        if isinstance(error, NotReadyError):
            raise
    return None


async def _place(context: Context, body: Body, value: PipelineValue) -> float | None:
    """Returns in how many seconds to look again, if time alone changes something."""
    claim_dags(context, value)
    await _ensure_airflow(context, value)
    placed = await _deliver_dag(context, value)
    runs = [
        run
        for run in context.store.labelled(names.PIPELINE_LABEL, value.owner.namespace, value.owner.name, RUN)
        # Those of a deleted pipeline of this name go, if they are still there.
        if "deletionTimestamp" not in run["metadata"] and not is_restored(run, body)
    ]
    mirrored_until = await mirror_runs(context, body, value, runs)
    await start_due_run(context, body, value, runs)
    status = pipeline_status(
        value,
        body,
        _observe(context, body, value, placed),
        max(runs, key=age, default=None),
        Started(started_workload(body, runs), handled_request(body, runs), mirrored_until),
        now=context.now(),
    )
    await context.write_status(body, status)
    if marks := finished_marks(body, runs, RUN_TO_ITS_END):
        await context.patch_metadata(body, {"annotations": marks})
    expired, wait = expired_runs(value, runs, context.now())
    for run in expired:
        await context.delete(run)
    return wait


async def _ensure_airflow(context: Context, value: PipelineValue) -> None:
    """Create the Airflow ``default`` once, where a pipeline wants it and there is none."""
    namespace, name = value.owner.namespace, value.airflow
    if context.store.get(AIRFLOW, namespace, name) is not None:
        return
    if name != names.DEFAULT_AIRFLOW:
        raise SpecError(
            f"there is no Airflow {name!r} in namespace {namespace}: create it, or leave out "
            f"spec.airflow.name to use {names.DEFAULT_AIRFLOW!r}",
            reason="AirflowNotFound",
        )
    if not context.settings.auto_create_airflow:
        raise SpecError(
            f"there is no Airflow {name!r} in namespace {namespace}, and the operator runs with "
            "--no-auto-create-airflow: create one",
            reason="AirflowNotFound",
        )
    manifest = {
        "apiVersion": API_VERSION,
        "kind": AIRFLOW,
        "metadata": {"name": name, "namespace": namespace, "finalizers": [names.AIRFLOW_FINALIZER]},
        "spec": {},
    }
    created = await context.cluster.create(manifest)
    if created is not None:
        context.store.put(created)
        context.enqueue((AIRFLOW, namespace, name))


async def _deliver_dag(context: Context, value: PipelineValue) -> PlacedPipeline:
    """Write the DAG's ConfigMap, and have the bundle take it in if it is another one than before."""
    owner = value.owner
    key = (owner.namespace, owner.name)
    before = context.pipelines.get(key)
    if before is not None and before.value == value:
        placed = before
        live = context.store.get("ConfigMap", owner.namespace, before.config_map)
        if live is not None:
            return placed
    dag_hash, config_map = delivery(value)
    await context.ensure(config_map)
    placed = PlacedPipeline(value, dag_hash, config_map["metadata"]["name"])
    context.pipelines[key] = placed
    if before is None or before.config_map != placed.config_map or before.value.airflow != value.airflow:
        context.enqueue((BUNDLE, owner.namespace, value.airflow))
        if before is not None and before.value.airflow != value.airflow:
            context.enqueue((BUNDLE, owner.namespace, before.value.airflow))
        for run in context.store.labelled(names.PIPELINE_LABEL, owner.namespace, owner.name, RUN):
            context.enqueue((RUN, owner.namespace, run["metadata"]["name"]))
    return placed


def _observe(context: Context, body: Body, value: PipelineValue, placed: PlacedPipeline) -> Placed:
    namespace = value.owner.namespace
    airflow = context.store.get(AIRFLOW, namespace, value.airflow)
    ready, message = airflow_is_ready(airflow, value.airflow)
    awaited = AwaitedDag(placed.dag_hash, dag_file(value), value.owner.name)
    context.connections.await_dag(namespace, value.airflow, value.dag_id, awaited)
    dag = context.connections.dag(namespace, value.airflow, value.dag_id)
    if dag is not None or context.connections.is_synced(namespace, value.airflow):
        parsed = dag is not None and placed.dag_hash in dag.hashes
        import_error = str(dag.import_error) if dag is not None and dag.import_error else ""
    else:
        parsed, import_error = known_parse(body, placed.dag_hash)
    hint = ""
    if ready and not parsed and airflow is not None and is_external(airflow):
        hint = undelivered(namespace, value.airflow, placed.dag_hash)
        # After a restart, what was told stays so.
        was_told = (body.get("status") or {}).get("message") == hint
        if not was_told and not context.connections.waits_long(namespace, value.airflow, value.dag_id):
            hint = ""
    return Placed(ready, message, placed.dag_hash, parsed, import_error, hint)


def _forget(context: Context, namespace: str, name: str) -> None:
    """The API server's garbage collector deletes the children; the bundle must drop the DAG."""
    context.references.forget(namespace, name)
    release_dags(context, namespace, name)
    context.connections.forget_dag(namespace, names.dag_id(namespace, name))
    context.conflicts.discard((namespace, name))
    if (namespace, name) in context.pipelines:
        del context.pipelines[namespace, name]
        # Of one that was not valid nobody knows which Airflow still has its DAG.
        for airflow in context.store.of_kind(AIRFLOW, namespace):
            context.enqueue((BUNDLE, namespace, airflow["metadata"]["name"]))
