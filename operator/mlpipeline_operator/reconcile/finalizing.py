"""The deletion of an ``MLPipelineRun``: it is cancelled and deleted in Airflow, and its pods go."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta

from mlpipeline_operator import names
from mlpipeline_operator.context import Context
from mlpipeline_operator.errors import NotReadyError, OperatorError, TransientError
from mlpipeline_operator.kinds import AIRFLOW, PIPELINE, RUN
from mlpipeline_operator.routing import is_gone, run_pipeline
from mlpipeline_operator.status.run import is_finished
from mlpipeline_operator.store import Body

__all__ = ["finalize_run"]

_log = logging.getLogger(__name__)

# How long the deletion of a run waits for an Airflow that does not answer.
_DEADLINE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a run is in Airflow.

    Attributes:
        airflows: The Airflows that may have it.
        dag_id: Of its DAG.
        dag_run_id: Its own.
        is_sure: Whether it was started there; else the answer to its trigger may have been lost.
    """

    airflows: list[str]
    dag_id: str
    dag_run_id: str
    is_sure: bool


async def finalize_run(context: Context, body: Body) -> None:
    """Take a run out of Airflow before it goes; never hold up a namespace's end."""
    metadata = body["metadata"]
    finalizers = metadata.get("finalizers") or []
    if names.FINALIZER not in finalizers:
        return
    namespace, name = metadata["namespace"], metadata["name"]
    place = _place(context, body)
    if place is not None and not await context.cluster.namespace_is_going(namespace):
        try:
            await _delete_in_airflow(context, namespace, place)
        except (TransientError, NotReadyError) as error:
            # From when this operator first tried: it may have been away for longer than that.
            first = context.finalizing.setdefault(metadata["uid"], context.now())
            if place.is_sure and context.now() - first < _DEADLINE:
                raise
            _log.warning("%s/%s: deleted without Airflow knowing: %s", namespace, name, error.message)
        except OperatorError as error:
            _log.warning("%s/%s: deleted without Airflow knowing: %s", namespace, name, error.message)
        await _delete_pods(context, namespace, run_pipeline(body), place)
    context.finalizing.pop(metadata["uid"], None)
    patch = {
        "finalizers": [each for each in finalizers if each != names.FINALIZER],
        "resourceVersion": metadata["resourceVersion"],
    }
    await context.cluster.merge_metadata(RUN, namespace, name, patch)


def _place(context: Context, body: Body) -> _Place | None:
    """Where the run may be; ``None`` if it never was in Airflow."""
    metadata, status = body["metadata"], body.get("status") or {}
    namespace, pipeline = metadata["namespace"], run_pipeline(body)
    known = status.get("dagRunId") or (metadata.get("annotations") or {}).get(names.DAG_RUN_ID_ANNOTATION)
    if known is None and is_finished(body):
        return None
    placed = context.pipelines.get((namespace, pipeline))
    told = ((context.store.get(PIPELINE, namespace, pipeline) or {}).get("status") or {}).get("dagId")
    airflow = status.get("airflow") or (placed.value.airflow if placed is not None else None)
    dag_id = status.get("dagId") or (placed.value.dag_id if placed is not None else told)
    # Of a pipeline that is gone nobody knows any more which Airflow it was to run in.
    airflows = [
        each["metadata"]["name"]
        for each in context.store.of_kind(AIRFLOW, namespace)
        if not is_gone(each) and airflow in (None, each["metadata"]["name"])
    ]
    return _Place(
        airflows,
        dag_id or names.dag_id(namespace, pipeline),
        known or names.dag_run_id(metadata["name"], metadata["uid"]),
        known is not None,
    )


async def _delete_in_airflow(context: Context, namespace: str, place: _Place) -> None:
    problem: OperatorError | None = None
    for airflow in place.airflows:
        try:
            await context.connections.delete_run(namespace, airflow, place.dag_id, place.dag_run_id)
        except OperatorError as error:
            problem = error
    if problem is not None:
        raise problem


async def _delete_pods(context: Context, namespace: str, pipeline: str, place: _Place) -> None:
    """Those of a DAG of the user's name only their Airflow; its other DAGs may have runs of the same id."""
    found = context.store.labelled(names.PIPELINE_LABEL, namespace, pipeline, "Pod")
    for airflow in place.airflows:
        found += context.store.labelled(names.AIRFLOW_LABEL, namespace, airflow, "Pod")
    for pod in found:
        annotations = pod["metadata"].get("annotations") or {}
        if (annotations.get("dag_id"), annotations.get("run_id")) == (place.dag_id, place.dag_run_id):
            await context.delete(pod)
