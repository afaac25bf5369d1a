"""Which resources must be looked at again when an object changes: pure, from labels and references."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mlpipeline_operator import names
from mlpipeline_operator.kinds import AIRFLOW, OWN, PIPELINE, RUN
from mlpipeline_operator.store import Body, Key, Store

__all__ = ["BUNDLE", "dependents", "is_gone", "pipeline_airflow", "run_of_pod", "run_pipeline"]

# Not a kind of the API server: the DAG bundle of one Airflow, keyed like a resource in the queue.
BUNDLE: Final = "Bundle"


def dependents(store: Store, body: Body) -> Iterator[Key]:
    """The keys that depend on ``body``, without its own."""
    kind, metadata = body["kind"], body["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    labels = metadata.get("labels") or {}
    if kind == RUN:
        yield PIPELINE, namespace, run_pipeline(body)
    elif kind == PIPELINE:
        # Its own reconcile looks to the bundle: most changes of a pipeline are of its status alone.
        for run in store.labelled(names.PIPELINE_LABEL, namespace, name, RUN):
            yield RUN, namespace, run["metadata"]["name"]
    elif kind == "Pod" and names.PIPELINE_LABEL in labels:
        of = run_of_pod(store, body)
        if of is not None:
            yield RUN, namespace, of
            if store.get(RUN, namespace, of) is None:
                # Airflow started it: the pipeline gives it a resource.
                yield PIPELINE, namespace, labels[names.PIPELINE_LABEL]
    elif kind not in OWN and names.PIPELINE_LABEL in labels:
        yield PIPELINE, namespace, labels[names.PIPELINE_LABEL]
    elif kind not in OWN and names.AIRFLOW_LABEL in labels:
        yield (BUNDLE if names.ROLE_LABEL in labels else AIRFLOW), namespace, labels[names.AIRFLOW_LABEL]


def run_of_pod(store: Store, pod: Body) -> str | None:
    """Name of the MLPipelineRun that a step's pod is of, whether it exists yet or not."""
    metadata = pod["metadata"]
    run_id = (metadata.get("annotations") or {}).get("run_id") or ""
    name, namespace = metadata["labels"][names.PIPELINE_LABEL], metadata["namespace"]
    own = names.run_in_id(run_id)
    pipeline = store.get(PIPELINE, namespace, name)
    if own is not None or not run_id or pipeline is None:
        return own
    airflow = store.get(AIRFLOW, namespace, pipeline_airflow(pipeline))
    return names.foreign_run(name, airflow["metadata"]["uid"], run_id) if airflow is not None else None


def run_pipeline(run: Body) -> str:
    """Name of the pipeline that a run is of."""
    return str(((run.get("spec") or {}).get("pipelineRef") or {}).get("name", ""))


def pipeline_airflow(pipeline: Body) -> str:
    """Name of the Airflow that a pipeline wants to run in."""
    return str(((pipeline.get("spec") or {}).get("airflow") or {}).get("name") or names.DEFAULT_AIRFLOW)


def is_gone(airflow: Body | None) -> bool:
    """Whether an Airflow is not there, or on its way out; one whose deletion waits is still there."""
    if airflow is None:
        return True
    metadata = airflow["metadata"]
    return "deletionTimestamp" in metadata and names.AIRFLOW_FINALIZER not in (
        metadata.get("finalizers") or ()
    )
