"""The main job: one applied pipeline becomes a trained model, and its status says how good it is."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from pathlib import Path

from tests.e2e.support import (
    PIPELINE_LABEL,
    AirflowApi,
    conditions,
    metrics,
    termination_message,
    until,
)
from tools.cluster.paths import REPOSITORY
from tools.demo.kube import Kube, Object

_ENOUGH = 0.98


def _run(kube: Kube, namespace: str, name: str = "mnist-1") -> Object:
    run = kube.get("mlpipelinerun", name, namespace)
    assert run is not None
    return run


def test_the_pipeline_reaches_the_accuracy_that_its_status_reports(mnist: Object) -> None:
    status = mnist["status"]
    name, _, value = status["metric"].partition("=")
    assert name == "val_accuracy"
    assert float(value) >= _ENOUGH
    assert status["progress"] == "100%"
    assert conditions({"status": status})["Ready"] == "True"
    assert conditions({"status": status})["LastRunSucceeded"] == "True"


def test_the_run_tells_inputs_steps_model_and_resources(kube: Kube, namespace: str, mnist: Object) -> None:
    status = _run(kube, namespace)["status"]
    assert status["inputs"]["parameters"] == {"epochs": "3"}
    assert status["inputs"]["data"] == "mnist"
    (step,) = status["steps"]
    assert step["state"] == "Succeeded"
    assert status["model"]["uri"].startswith("pvc://")
    assert status["model"]["digest"].startswith("sha256:")
    assert float(status["resourceUsage"]["cpuSeconds"]) > 0
    assert status["startedAt"] <= status["finishedAt"]


def test_the_documented_command_fetches_the_model_of_the_digest(
    kube: Kube, namespace: str, mnist: Object, tmp_path: Path
) -> None:
    program, *options = kube.command(f"--namespace={namespace}")
    done = subprocess.run(
        [REPOSITORY / "tools" / "fetch-model.sh", *options, "mnist-1", tmp_path],
        env={**os.environ, "KUBECTL": program},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    digest = hashlib.sha256((tmp_path / "model.keras").read_bytes()).hexdigest()
    assert _run(kube, namespace)["status"]["model"]["digest"] == f"sha256:{digest}"

    def gone() -> bool:
        return not [
            pod for pod in kube.list("pods", namespace) if pod["metadata"]["name"].startswith("fetch-")
        ]

    until("the pod that fetched it is gone", gone, seconds=60)


def test_status_termination_message_and_xcom_hold_the_same_metrics(
    kube: Kube, namespace: str, mnist: Object, airflow: AirflowApi
) -> None:
    status = _run(kube, namespace)["status"]
    (step,) = status["steps"]
    message = termination_message(kube, namespace, step["pod"])
    run = f"/dags/{namespace}.mnist/dagRuns/{status['dagRunId']}"
    xcom = airflow.get(f"{run}/taskInstances/{step['name']}/xcomEntries/metrics?stringify=false")
    assert metrics(status) == message["metrics"] == xcom["value"]
    assert float(metrics(status)["val_accuracy"]) >= _ENOUGH


def test_the_step_pod_stays_and_its_log_is_plain_text(kube: Kube, namespace: str, mnist: Object) -> None:
    (step,) = _run(kube, namespace)["status"]["steps"]
    log = kube.run("logs", step["pod"], f"--namespace={namespace}", "--container=base")
    assert "60000 training and 10000 test images" in log
    assert not [line for line in log.splitlines() if line.startswith('{"')]


def test_kubectl_get_shows_the_columns_of_the_readme(kube: Kube, namespace: str, mnist: Object) -> None:
    header, row = kube.run("get", "mlpipelines", "mnist", f"--namespace={namespace}").splitlines()
    assert header.split("  ")[0] == "NAME"
    for column in ("READY", "STATUS", "PROGRESS", "METRIC", "LAST RUN", "SCHEDULE", "AGE"):
        assert column in header
    assert row.split()[:4] == ["mnist", "True", "Succeeded", "100%"]
    assert "val_accuracy=0.9" in row


def test_airflow_lists_the_pipeline_for_the_person_who_logs_in(
    namespace: str, mnist: Object, airflow: AirflowApi
) -> None:
    dag = airflow.get(f"/dags/{namespace}.mnist")
    assert not dag["is_paused"]
    assert f"mlpipelines.dev/dag-hash={mnist['status']['dagHash']}" in {tag["name"] for tag in dag["tags"]}
    assert airflow.get("/importErrors")["total_entries"] == 0


def test_applying_the_same_again_starts_nothing_and_writes_nothing(
    kube: Kube, namespace: str, mnist: Object
) -> None:
    before = kube.get("mlpipeline", "mnist", namespace)
    assert before is not None
    spec = {key: before[key] for key in ("apiVersion", "kind", "spec")}
    kube.apply({**spec, "metadata": {"name": "mnist"}}, namespace=namespace)
    time.sleep(5)
    after = kube.get("mlpipeline", "mnist", namespace)
    assert after is not None
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert after["status"] == before["status"]
    runs = kube.list("mlpipelineruns", namespace, f"{PIPELINE_LABEL}=mnist")
    assert [run["metadata"]["name"] for run in runs] == ["mnist-1"]
