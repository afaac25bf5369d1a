"""Edits: a changed workload is a new run, on an Airflow that goes on as it is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest

from tests.e2e.support import PIPELINE_LABEL, AirflowApi, metrics, pipeline, state, until, wait_for_run
from tools.demo.kube import Kube, Object

_QUICK = {"epochs": 1, "batch_size": 1000}


def _airflow_pods(kube: Kube, namespace: str) -> dict[str, int]:
    """Restarts of each of Airflow's own pods, by the pod's UID."""
    pods = kube.list("pods", namespace, "app.kubernetes.io/name=airflow")
    return {
        pod["metadata"]["uid"]: sum(each["restartCount"] for each in pod["status"]["containerStatuses"])
        for pod in pods
        if PIPELINE_LABEL not in pod["metadata"]["labels"]
    }


def _apply(kube: Kube, namespace: str, parameters: Mapping[str, Any]) -> float:
    """Apply the pipeline ``edited`` and return the moment before."""
    moment = time.time()
    kube.apply(pipeline("edited", {"dataset": "mnist"}, parameters), namespace=namespace)
    return moment


def _run(kube: Kube, namespace: str, name: str, parameters: Mapping[str, Any]) -> Object:
    """Create a run of ``edited`` by hand and return it once it has ended."""
    manifest = {
        "apiVersion": "mlpipelines.dev/v1alpha1",
        "kind": "MLPipelineRun",
        "metadata": {"name": name},
        "spec": {"pipelineRef": {"name": "edited"}, "parameters": dict(parameters)},
    }
    kube.apply(manifest, namespace=namespace)
    return wait_for_run(kube, namespace, name)


def _first_output(kube: Kube, namespace: str, run: Object) -> float:
    """Return when the training process wrote its first line."""
    (step,) = run["status"]["steps"]
    log = kube.run("logs", step["pod"], f"--namespace={namespace}", "--container=base", "--timestamps")
    line = next(line for line in log.splitlines() if "mlpipeline-trainer:" in line)
    # Nanoseconds are more than Python reads.
    return datetime.fromisoformat(line.split()[0][:26].rstrip("Z") + "+00:00").timestamp()


@pytest.fixture(scope="module")
def edited(kube: Kube, namespace: str, mnist: Object, figures: dict[str, float]) -> Object:
    """A second pipeline, after its first run, on the Airflow that is up already."""
    applied = _apply(kube, namespace, _QUICK)
    run = wait_for_run(kube, namespace, "edited-1")
    assert state(run) == "Succeeded"
    began = _first_output(kube, namespace, run)
    figures["s from apply to the training process running, Airflow warm"] = began - applied
    found = kube.get("mlpipeline", "edited", namespace)
    assert found is not None
    return found


def test_a_changed_parameter_starts_a_run_without_any_pod_of_airflow_restarted(
    kube: Kube, namespace: str, edited: Object, airflow: AirflowApi, figures: dict[str, float]
) -> None:
    pods = _airflow_pods(kube, namespace)
    assert len(pods) == 5
    old_tag = f"mlpipelines.dev/dag-hash={edited['status']['dagHash']}"
    changed = {**_QUICK, "batch_size": 500}
    applied = _apply(kube, namespace, changed)

    def parsed() -> bool:
        return old_tag not in {tag["name"] for tag in airflow.get(f"/dags/{namespace}.edited")["tags"]}

    until("Airflow shows the new DAG", parsed, seconds=120, every=0.1)
    figures["s from an edited pipeline to Airflow having parsed its DAG"] = time.time() - applied

    run = wait_for_run(kube, namespace, "edited-2")
    assert state(run) == "Succeeded"
    assert run["status"]["inputs"]["parameters"] == {"batch_size": "500", "epochs": "1"}
    assert 0.5 < float(metrics(run["status"])["val_accuracy"]) < 1
    assert _airflow_pods(kube, namespace) == pods


def test_a_run_that_a_user_creates_overrides_the_parameters(
    kube: Kube, namespace: str, edited: Object
) -> None:
    run = _run(kube, namespace, "by-hand", {**_QUICK, "seed": 7})
    assert state(run) == "Succeeded"
    assert run["status"]["inputs"]["parameters"]["seed"] == "7"


def test_deleting_a_run_deletes_it_in_airflow_and_its_pod(
    kube: Kube, namespace: str, edited: Object, airflow: AirflowApi
) -> None:
    status = _run(kube, namespace, "to-delete", {"epochs": -1})["status"]
    path = f"/dags/{namespace}.edited/dagRuns/{status['dagRunId']}"
    (step,) = status["steps"]
    assert airflow.get(path) is not None
    assert kube.get("pod", step["pod"], namespace) is not None
    kube.delete("mlpipelinerun", "to-delete", namespace, wait=120)
    assert airflow.get(path) is None
    until("its pod is gone", lambda: kube.get("pod", step["pod"], namespace) is None, seconds=120)
