"""An Airflow of another namespace, used as one that somebody else runs."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.e2e.support import AirflowApi, conditions, pipeline, state, until
from tools.demo.kube import Kube, Object


@pytest.fixture
def elsewhere(kube: Kube) -> Iterator[str]:
    """A second namespace."""
    name = f"e2e-{secrets.token_hex(3)}"
    kube.run("create", "namespace", name)
    yield name
    kube.delete("namespace", name)


def test_an_external_airflow_is_shown_and_a_dag_that_it_cannot_read_says_what_to_do(
    kube: Kube, namespace: str, mnist: Object, airflow: AirflowApi, elsewhere: str
) -> None:
    managed = kube.get("airflow", "default", namespace)
    assert managed is not None
    admin = kube.get("secret", managed["status"]["access"]["passwordSecret"], namespace)
    assert admin is not None
    login = {key: admin["data"][key] for key in ("username", "password")}
    external = {"url": managed["status"]["url"], "credentialsSecretRef": {"name": "login"}}
    kube.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "data": login},
        {
            "apiVersion": "mlpipelines.dev/v1alpha1",
            "kind": "Airflow",
            "metadata": {"name": "shared"},
            "spec": {"external": external},
        },
        namespace=elsewhere,
    )
    kube.run("wait", "--for=condition=Ready", "--timeout=110s", "airflow/shared", f"--namespace={elsewhere}")
    found = kube.get("airflow", "shared", elsewhere)
    assert found is not None
    assert found["status"]["version"] == managed["status"]["version"]
    assert {"name": "scheduler", "ready": "healthy"} in found["status"]["components"]
    assert kube.list("deployments", elsewhere) == []

    wanted = pipeline("digits", {"dataset": "mnist"}, {"epochs": 1})
    wanted["spec"]["airflow"] = {"name": "shared"}
    kube.apply(wanted, namespace=elsewhere)

    def told() -> Object | None:
        body = kube.get("mlpipeline", "digits", elsewhere)
        return body if body and "mlpipeline_dags" in body.get("status", {}).get("message", "") else None

    waiting = until("the pipeline says what to install", told, seconds=240)
    assert state(waiting) == "WaitingForDag"
    assert conditions(waiting)["Ready"] == "False"

    kube.delete("mlpipeline", "digits", elsewhere, wait=120)
    kube.delete("airflow", "shared", elsewhere, wait=120)
    assert airflow.get(f"/dags/{namespace}.mnist") is not None, "nothing there was touched"
    after = kube.get("mlpipeline", "mnist", namespace)
    assert after is not None
    assert conditions(after)["Ready"] == "True"
