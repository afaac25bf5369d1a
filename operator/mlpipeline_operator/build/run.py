"""The ``MLPipelineRun``s that the operator creates: for a change, for a request, for a run of Airflow's."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

from mlpipeline_operator import names
from mlpipeline_operator.build.meta import object_meta
from mlpipeline_operator.kinds import PIPELINE, RUN
from mlpipeline_operator.names import API_VERSION
from mlpipeline_operator.values import PipelineValue

__all__ = [
    "age",
    "due_run",
    "finished_marks",
    "handled_request",
    "is_operator_made",
    "is_restored",
    "mirrored_run",
    "newest_number",
    "pending_request",
    "started_workload",
    "trigger_of",
]

Body = Mapping[str, Any]


def due_run(value: PipelineValue, number: int, trigger: str, request: str | None = None) -> dict[str, Any]:
    """Manifest of the ``number``-th run, for the pipeline's workload as it is now.

    Args:
        value: The pipeline.
        number: From 1.
        trigger: ``Change`` or ``Request``.
        request: The value of the pipeline's annotation that asks for it, if one does.
    """
    annotations = {names.RUN_HASH_ANNOTATION: value.run_hash, names.TRIGGER_ANNOTATION: trigger}
    if request is not None:
        annotations[names.RUN_REQUEST_ANNOTATION] = request
    return _run(value, names.run_name(value.owner.name, number), annotations)


def mirrored_run(value: PipelineValue, name: str, dag_run_id: str, *, scheduled: bool) -> dict[str, Any]:
    """Manifest for a run that Airflow had first: by its schedule, or since somebody started it there."""
    trigger = "Schedule" if scheduled else "Airflow"
    annotations = {names.DAG_RUN_ID_ANNOTATION: dag_run_id, names.TRIGGER_ANNOTATION: trigger}
    return _run(value, name, annotations)


def _run(value: PipelineValue, name: str, annotations: Mapping[str, str]) -> dict[str, Any]:
    metadata = object_meta(
        value.owner, name, names.pipeline_labels(value.owner.name), annotations=annotations
    )
    metadata["finalizers"] = [names.FINALIZER]
    return {
        "apiVersion": API_VERSION,
        "kind": RUN,
        "metadata": metadata,
        "spec": {"pipelineRef": {"name": value.owner.name}},
    }


def pending_request(pipeline: Body, runs: Iterable[Body]) -> str | None:
    """The value of the annotation that asks for a run, unless one was started for it already."""
    wanted = _annotation(pipeline, names.RUN_REQUEST_ANNOTATION)
    handled = (pipeline.get("status") or {}).get("runRequest")
    if not wanted or wanted in (handled, _annotation(pipeline, names.FINISHED_REQUEST_ANNOTATION)):
        return None
    return None if any(_annotation(run, names.RUN_REQUEST_ANNOTATION) == wanted for run in runs) else wanted


def handled_request(pipeline: Body, runs: Iterable[Body]) -> str | None:
    """The annotation's value that had its run last, for the status to remember."""
    before = (pipeline.get("status") or {}).get("runRequest")
    if pending_request(pipeline, runs) is not None:
        return before
    # Also once the annotation is gone: put back, it asks for nothing new.
    return _annotation(pipeline, names.RUN_REQUEST_ANNOTATION) or before


def age(run: Body) -> tuple[str, int, str]:
    """Sorts runs, newest last; those created within one second are told apart by their number."""
    metadata = run["metadata"]
    return metadata["creationTimestamp"], _number(run), metadata["name"]


def is_operator_made(run: Body) -> bool:
    """Whether the operator created this run's resource, rather than a user (or their Git)."""
    return (run["metadata"].get("labels") or {}).get(names.MANAGED_BY_LABEL) == names.MANAGED_BY


def trigger_of(run: Body) -> str:
    """Who started a run: a word of ``api.states.Trigger``."""
    if not is_operator_made(run):
        return "User"
    return _annotation(run, names.TRIGGER_ANNOTATION) or "Change"


def started_workload(pipeline: Body, runs: Iterable[Body]) -> tuple[str, int] | None:
    """Hash of the workload that the newest operator-made run is for, and that run's number.

    The pipeline's status remembers it when the run itself is gone; the run tells it before the status is
    written, and when the status was lost. Of a restored pipeline its annotation tells it: number 0.
    """
    status = pipeline.get("status") or {}
    known = []
    if status.get("runHash"):
        known.append((status.get("runCount") or 0, status["runHash"]))
    elif (finished := _finished_workload(pipeline)) is not None:
        known.append((0, finished))
    for run in runs:
        run_hash = _annotation(run, names.RUN_HASH_ANNOTATION)
        number = _number(run)
        if run_hash and number:
            known.append((number, run_hash))
    if not known:
        return None
    number, run_hash = max(known, key=lambda each: each[0])
    return run_hash, number


def newest_number(pipeline: Body, runs: Iterable[Body]) -> int:
    """Number of the newest operator-made run, 0 where there was none."""
    started = started_workload(pipeline, runs)
    return started[1] if started else 0


def finished_marks(pipeline: Body, runs: Iterable[Body], ended: Container[str]) -> dict[str, str]:
    """Annotations that the pipeline still lacks, for what was run to its end.

    Args:
        pipeline: As observed.
        runs: Its runs.
        ended: The states of a run that need not be run again.
    """
    started = started_workload(pipeline, runs)
    if started is None or started[1] == 0:
        return {}
    name = names.run_name(pipeline["metadata"]["name"], started[1])
    newest = next((run for run in runs if run["metadata"]["name"] == name), None)
    if newest is None or (newest.get("status") or {}).get("state") not in ended:
        return {}
    metadata = pipeline["metadata"]
    marks = {
        names.FINISHED_WORKLOAD_ANNOTATION: names.finished_workload(
            metadata["namespace"], metadata["name"], started[0]
        ),
        names.FINISHED_REQUEST_ANNOTATION: _annotation(newest, names.RUN_REQUEST_ANNOTATION),
    }
    return {key: mark for key, mark in marks.items() if mark and mark != _annotation(pipeline, key)}


def is_restored(run: Body, pipeline: Body) -> bool:
    """Whether a run is of an earlier pipeline of that name: a backup's, without its status."""
    owners = run["metadata"].get("ownerReferences") or ()
    uids = {each["uid"] for each in owners if each["kind"] == PIPELINE and each["apiVersion"] == API_VERSION}
    return bool(uids) and pipeline["metadata"]["uid"] not in uids


def _finished_workload(pipeline: Body) -> str | None:
    metadata, mark = pipeline["metadata"], _annotation(pipeline, names.FINISHED_WORKLOAD_ANNOTATION)
    if mark is None:
        return None
    run_hash = mark.rpartition("/")[2]
    own = names.finished_workload(metadata["namespace"], metadata["name"], run_hash)
    return run_hash if mark == own else None


def _annotation(body: Body, name: str) -> str | None:
    return (body["metadata"].get("annotations") or {}).get(name)


def _number(run: Body) -> int:
    tail = str(run["metadata"]["name"]).rpartition("-")[2]
    return int(tail) if tail.isdigit() else 0
