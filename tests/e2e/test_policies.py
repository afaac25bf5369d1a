"""The run policy, for real: what starts a run, tries it again, takes its place, and clears it away."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.e2e.support import (
    PIPELINE_LABEL,
    AirflowApi,
    installed_images,
    log,
    state,
    until,
    wait_for_run,
    wait_for_state,
)
from tools.demo.kube import Kube, Object

# Fails where it is the first attempt of its run.
_SECOND_TRY = """
echo attempt $MLP_ATTEMPT
test -e "$MLP_ARTIFACTS_DIR/tried" && exit 0
touch "$MLP_ARTIFACTS_DIR/tried"
exit 1
"""


@pytest.fixture(scope="module")
def image(kube: Kube) -> str:
    return installed_images(kube)["MLP_POSTGRES_IMAGE"]


def _apply(kube: Kube, namespace: str, name: str, image: str, script: str, **policy: Any) -> None:
    step = {"name": "do", "image": image, "command": ["sh", "-c", script]}
    manifest = {
        "apiVersion": "mlpipelines.dev/v1alpha1",
        "kind": "MLPipeline",
        "metadata": {"name": name},
        "spec": {"steps": [step], "runPolicy": policy},
    }
    kube.apply(manifest, namespace=namespace)


def _request(kube: Kube, namespace: str, name: str, moment: str) -> None:
    word = f"mlpipelines.dev/run-requested-at={moment}"
    kube.run("annotate", "--overwrite", f"mlpipeline/{name}", f"--namespace={namespace}", word)


def _runs(kube: Kube, namespace: str, name: str) -> dict[str, Object]:
    runs = kube.list("mlpipelineruns", namespace, f"{PIPELINE_LABEL}={name}")
    return {run["metadata"]["name"]: run for run in runs}


def test_a_request_starts_one_run_and_what_is_beyond_history_or_time_goes_in_airflow_too(
    kube: Kube, namespace: str, mnist: Object, image: str, airflow: AirflowApi
) -> None:
    """Two pipelines at once: one keeps the newest good run, one each run for a second; the newest stays."""
    limits: dict[str, dict[str, Any]] = {
        "brief": {"history": {"successful": 1}},
        "mayfly": {"ttlAfterFinished": "1s"},
    }
    for name, policy in limits.items():
        _apply(kube, namespace, name, image, "exit 0" if name == "brief" else "exit 1", **policy)
    for name in limits:
        wait_for_run(kube, namespace, f"{name}-1")
    assert set(_runs(kube, namespace, "mayfly")) == {"mayfly-1"}, "the newest stays, whatever its age"
    for name in limits:
        _request(kube, namespace, name, "2026-01-01")
    for name, wanted in (("brief", "Succeeded"), ("mayfly", "Failed")):
        ended = wait_for_run(kube, namespace, f"{name}-2")
        assert state(ended) == wanted, ended["status"]
        assert ended["status"]["trigger"] == "Request"

    for name in limits:

        def cleared(name: str = name) -> bool:
            return set(_runs(kube, namespace, name)) == {f"{name}-2"}

        until(f"the older run of {name} is gone", cleared, seconds=300)
        there = airflow.get(f"/dags/{namespace}.{name}/dagRuns")["dag_runs"]
        (newest,) = _runs(kube, namespace, name).values()
        assert [each["dag_run_id"] for each in there] == [newest["status"]["dagRunId"]]
        _request(kube, namespace, name, "2026-01-01")
    time.sleep(5)
    for name in limits:
        assert set(_runs(kube, namespace, name)) == {f"{name}-2"}, "one request, one run"
        kube.delete("mlpipeline", name, namespace)


def test_a_step_that_succeeds_at_its_second_attempt_is_a_run_that_succeeds(
    kube: Kube, namespace: str, mnist: Object, image: str
) -> None:
    _apply(kube, namespace, "stubborn", image, _SECOND_TRY, retries=2, backoff={"delay": "1s"})
    run = wait_for_run(kube, namespace, "stubborn-1")
    assert state(run) == "Succeeded", run["status"]
    assert run["status"]["attempt"] == 2
    (step,) = run["status"]["steps"]
    assert (step["state"], step["attempt"], step["exitCode"]) == ("Succeeded", 2, 0)
    assert log(kube, namespace, step["pod"]).splitlines() == ["attempt 2"]
    kube.delete("mlpipeline", "stubborn", namespace)


def test_a_newer_run_takes_the_place_of_the_older_one(
    kube: Kube, namespace: str, mnist: Object, image: str
) -> None:
    _apply(kube, namespace, "latest", image, "exec sleep 3600", concurrency="Replace")
    wait_for_state(kube, namespace, "mlpipelinerun/latest-1", "Running")
    _request(kube, namespace, "latest", "2026-01-01")
    older = wait_for_run(kube, namespace, "latest-1")
    assert state(older) == "Cancelled", older["status"]
    assert "latest-2" in older["status"]["message"]
    wait_for_state(kube, namespace, "mlpipelinerun/latest-2", "Running")
    kube.delete("mlpipeline", "latest", namespace)


def test_a_run_of_a_dag_that_somebody_paused_says_so_and_goes_on_afterwards(
    kube: Kube, namespace: str, mnist: Object, image: str, airflow: AirflowApi
) -> None:
    _apply(kube, namespace, "held", image, "exit 0")
    wait_for_run(kube, namespace, "held-1")
    airflow.patch(f"/dags/{namespace}.held", {"is_paused": True})
    _request(kube, namespace, "held", "2026-01-01")

    def told() -> bool:
        run = kube.get("mlpipelinerun", "held-2", namespace) or {}
        return "paused the DAG" in (run.get("status") or {}).get("message", "")

    until("the run says that its DAG is paused", told, seconds=90)
    waiting = kube.get("mlpipelinerun", "held-2", namespace)
    assert state(waiting) == "Queued", waiting
    airflow.patch(f"/dags/{namespace}.held", {"is_paused": False})
    ended = wait_for_run(kube, namespace, "held-2")
    assert state(ended) == "Succeeded", ended["status"]
    kube.delete("mlpipeline", "held", namespace)
