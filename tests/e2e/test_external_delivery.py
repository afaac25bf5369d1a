"""An Airflow that somebody else runs in a namespace of theirs, with the DAG bundle of another one."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e import others_airflow
from tests.e2e.support import (
    PIPELINE_LABEL,
    AirflowApi,
    conditions,
    installed_images,
    metrics,
    pipeline,
    state,
    termination_message,
    until,
    wait_for_run,
)
from tools.cluster.paths import REPOSITORY
from tools.demo.kube import Kube, Object

_EXAMPLE = REPOSITORY / "manifests" / "examples" / "external-airflow.yaml"
_POINTER = "airflow-shared-dags"


@dataclass(frozen=True)
class Places:
    """Whose Airflow it is, who uses it, and as whom."""

    platform: str
    research: str
    login: dict[str, str]


@pytest.fixture(scope="module")
def places(kube: Kube) -> Iterator[Places]:
    """Both namespaces, with an Airflow that is starting in one and all that it takes in the other."""
    suffix = secrets.token_hex(3)
    platform, research = f"e2e-platform-{suffix}", f"e2e-research-{suffix}"
    manifests = others_airflow.airflow(installed_images(kube), platform, research, _POINTER)
    login = others_airflow.login(manifests)
    try:
        for name in (platform, research):
            kube.run("create", "namespace", name)
            kube.run("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
        kube.apply(*manifests, namespace=platform)
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "airflow-login"}}
        kube.apply(secret | {"stringData": login}, namespace=research)
        example = _EXAMPLE.read_text().replace("research", research).replace("platform", platform)
        kube.run("apply", "--server-side", "--filename=-", stdin=example)
        yield Places(platform, research, login)
    finally:
        for name in (research, platform):
            kube.delete("namespace", name)


@pytest.fixture(scope="module")
def airflow(kube: Kube, places: Places, run: Object) -> Iterator[AirflowApi]:
    with others_airflow.api(kube, places.platform, places.login) as api:
        yield api


@pytest.fixture(scope="module")
def run(kube: Kube, places: Places) -> Object:
    """A training in that Airflow, after its end."""
    wanted = pipeline("digits", {"dataset": "mnist"}, {"epochs": 1})
    wanted["spec"]["airflow"] = {"name": "shared"}
    kube.apply(wanted, namespace=places.research)
    return wait_for_run(kube, places.research, "digits-1", seconds=800)


def test_a_training_there_tells_what_one_in_a_managed_airflow_tells(
    kube: Kube, places: Places, run: Object, airflow: AirflowApi
) -> None:
    status = run["status"]
    assert status["state"] == "Succeeded", json.dumps(status, indent=1)
    (step,) = status["steps"]
    assert (step["name"], step["state"], step["attempt"], step["exitCode"]) == ("train", "Succeeded", 1, 0)
    assert status["startedAt"] <= step["startedAt"] <= step["finishedAt"]
    claim = f"pvc://airflow-shared-artifacts/{places.research}/digits/digits-1/model"
    assert status["model"]["uri"].startswith(claim)
    assert float(status["resourceUsage"]["cpuSeconds"]) > 0
    assert status["inputs"]["parameters"] == {"epochs": "1"}

    message = termination_message(kube, places.research, step["pod"])
    there = f"/dags/{places.research}.digits/dagRuns/{status['dagRunId']}"
    xcom = airflow.get(f"{there}/taskInstances/train/xcomEntries/metrics?stringify=false")
    assert metrics(status) == message["metrics"] == xcom["value"]
    assert float(metrics(status)["val_accuracy"]) > 0.9
    log = kube.run("logs", step["pod"], f"--namespace={places.research}", "--container=base")
    assert "60000 training and 10000 test images" in log

    def settled() -> Object | None:
        found = kube.get("mlpipeline", "digits", places.research)
        return found if state(found) == "Succeeded" else None

    told = until("the pipeline shows its run's end", settled, seconds=60)
    assert conditions(told).items() >= {"Ready": "True", "LastRunSucceeded": "True"}.items()
    assert told["status"]["metric"] == status["metric"]


def test_the_operator_made_nothing_but_the_dags(kube: Kube, places: Places, run: Object) -> None:
    for kind in ("deployments", "statefulsets", "services"):
        assert kube.list(kind, places.research) == []
    assert kube.list("airflows", places.platform) == []


def test_a_deleted_run_is_gone_there_with_its_pod_and_nothing_else_is(
    kube: Kube, places: Places, run: Object, airflow: AirflowApi
) -> None:
    dag = f"/dags/{places.research}.digits"
    kube.delete("mlpipelinerun", "digits-1", places.research, wait=90)
    assert airflow.get(f"{dag}/dagRuns/{run['status']['dagRunId']}") is None
    until(
        "its pod is gone",
        lambda: not kube.list("pods", places.research, f"{PIPELINE_LABEL}=digits"),
        seconds=90,
    )
    kube.delete("mlpipeline", "digits", places.research, wait=90)
    kube.delete("airflow", "shared", places.research, wait=90)

    def healthy() -> bool:
        return bool(airflow.get("/monitor/health")["scheduler"]["status"] == "healthy")

    # A busy machine may let one of its heartbeats come late.
    until("its scheduler is healthy", healthy, seconds=120)
    assert len(kube.list("deployments", places.platform)) == 4
