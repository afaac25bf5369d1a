"""Resources, pods and Airflow's answers as they are met in a cluster; no name is the product's default."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from mlpipeline_operator import names
from mlpipeline_operator.airflow import DagRun, RunView, TaskInstance
from mlpipeline_operator.validate import validate_airflow, validate_pipeline
from mlpipeline_operator.values import AirflowValue, Images, PipelineValue

Body = dict[str, Any]
IMAGES = Images("images.test/airflow:1", "images.test/trainer:1", "images.test/postgres:1")
NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
RUN_ID = names.dag_run_id("digits-1", "0a1b-2c3d")
DAG_ID = "research.digits"
RESULT = {
    "schema": 1,
    "state": "Succeeded",
    "metrics": {"val_accuracy": "0.98125", "loss": "0.05"},
    "bestMetrics": {"val_accuracy": "0.9853"},
    "epochs": 3,
    "model": {"uri": "pvc://claim/research/digits/digits-1/model", "digest": "sha256:abc"},
    "resourceUsage": {"wallSeconds": 61.5, "cpuSeconds": 100, "maxRssBytes": 123456},
}


def pipeline(generation: int = 1, **spec: Any) -> Body:
    return {
        "apiVersion": names.API_VERSION,
        "kind": "MLPipeline",
        "metadata": {
            "name": "digits",
            "namespace": "research",
            "uid": "uid-of-digits",
            "generation": generation,
        },
        "spec": {
            "training": {"dataset": "mnist"},
            "airflow": {"name": "orchestra"},
            "objective": {"metric": "val_accuracy"},
            **spec,
        },
    }


def pipeline_value(**spec: Any) -> PipelineValue:
    return validate_pipeline(pipeline(**spec), IMAGES)


def run(status: Body | None = None, **spec: Any) -> Body:
    body: Body = {
        "apiVersion": names.API_VERSION,
        "kind": "MLPipelineRun",
        "metadata": {
            "name": "digits-1",
            "namespace": "research",
            "uid": "0a1b-2c3d",
            "generation": 1,
            "creationTimestamp": "2026-11-22T11:59:00Z",
        },
        "spec": {"pipelineRef": {"name": "digits"}, **spec},
    }
    return body if status is None else {**body, "status": status}


def airflow(generation: int = 1, **spec: Any) -> Body:
    return {
        "apiVersion": names.API_VERSION,
        "kind": "Airflow",
        "metadata": {
            "name": "orchestra",
            "namespace": "research",
            "uid": "uid-of-orchestra",
            "generation": generation,
        },
        "spec": spec,
    }


def airflow_value(**spec: Any) -> AirflowValue:
    return validate_airflow(airflow(**spec), IMAGES)


def seen_by_airflow(state: str, task: str | None = None, *, attempt: int = 1) -> RunView:
    """A run in Airflow; its task instances are known where ``task`` is given."""
    ended = LATER if state in ("success", "failed") else None
    dag_run = DagRun(
        dag_id=DAG_ID,
        run_id=RUN_ID,
        state=state,
        run_type="manual",
        triggered_by="rest_api",
        queued_at=NOW,
        started_at=None if state == "queued" else NOW,
        finished_at=ended,
        run_after=NOW,
        logical_date=None,
        bundle_version=None,
    )
    if task is None:
        return RunView(dag_run)
    instance = TaskInstance(
        dag_id=DAG_ID,
        run_id=RUN_ID,
        task_id="train",
        map_index=-1,
        state=task,
        try_number=attempt,
        max_tries=0,
        queued_at=NOW,
        started_at=NOW,
        finished_at=ended,
        hostname=None,
    )
    return RunView(dag_run, (instance,))


def pod(attempt: int = 1, name: str = "", **status: Any) -> Body:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name or f"digits-train-{attempt}",
            "namespace": "research",
            "annotations": {
                "dag_id": DAG_ID,
                "run_id": RUN_ID,
                "task_id": "train",
                "try_number": str(attempt),
            },
        },
        "status": status,
    }


SCHEDULED = {"type": "PodScheduled", "status": "True"}


def container(**state: Any) -> list[Body]:
    """Container statuses of a pod: ours, and a sidecar that says something else."""
    sidecar = {"name": "mesh", "state": {"running": {"startedAt": "2026-11-22T00:00:00Z"}}}
    return [sidecar, {"name": "base", "state": state}]


def unschedulable(attempt: int = 1) -> Body:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 Insufficient memory.",
    }
    return pod(attempt, phase="Pending", conditions=[condition])


def waiting(reason: str, message: str = "", attempt: int = 1) -> Body:
    state = {"waiting": {"reason": reason, "message": message}}
    return pod(attempt, phase="Pending", conditions=[SCHEDULED], containerStatuses=container(**state))


def running(attempt: int = 1) -> Body:
    state = {"running": {"startedAt": "2026-11-22T12:00:03Z"}}
    return pod(attempt, phase="Running", conditions=[SCHEDULED], containerStatuses=container(**state))


def ended(exit_code: int, result: Body | str = "", reason: str = "", attempt: int = 1, **status: Any) -> Body:
    terminated = {
        "exitCode": exit_code,
        "reason": reason or ("Completed" if exit_code == 0 else "Error"),
        "startedAt": "2026-11-22T12:00:03Z",
        "finishedAt": "2026-11-22T12:01:04Z",
        "message": result if isinstance(result, str) else json.dumps(result),
    }
    phase = "Succeeded" if exit_code == 0 else "Failed"
    return pod(attempt, phase=phase, containerStatuses=container(terminated=terminated), **status)
