"""An Airflow on a PostgreSQL that the operator did not make: ``database.secretRef``."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.e2e.support import installed_images, pipeline, wait_for_run, wait_for_state
from tools.demo.kube import Kube, Object

_PASSWORD = "n0t-a-s3cret/in@a:test"
# As a URL wants it, where a password may hold anything.
_QUOTED = "n0t-a-s3cret%2Fin%40a%3Atest"


def _postgres(image: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "postgres", "labels": {"app": "postgres"}},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 999,
                "fsGroup": 999,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "postgres",
                    "image": image,
                    "env": [
                        {"name": "POSTGRES_USER", "value": "team"},
                        {"name": "POSTGRES_DB", "value": "orchestration"},
                        {"name": "POSTGRES_PASSWORD", "value": _PASSWORD},
                        {"name": "PGDATA", "value": "/data/pgdata"},
                    ],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [
                        {"name": "data", "mountPath": "/data"},
                        {"name": "tmp", "mountPath": "/tmp"},
                    ],
                }
            ],
            "volumes": [{"name": "data", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
        },
    }


@pytest.fixture
def own_namespace(kube: Kube) -> Iterator[str]:
    name = f"e2e-database-{secrets.token_hex(3)}"
    kube.run("create", "namespace", name)
    yield name
    kube.delete("namespace", name, wait=240)


def test_an_airflow_on_a_database_of_ones_own_trains(kube: Kube, own_namespace: str) -> None:
    image = installed_images(kube)["MLP_POSTGRES_IMAGE"]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "postgres"},
        "spec": {"selector": {"app": "postgres"}, "ports": [{"port": 5432}]},
    }
    url = f"postgresql+psycopg2://team:{_QUOTED}@postgres.{own_namespace}.svc:5432/orchestration"
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "airflow-db"},
        "stringData": {"url": url},
    }
    airflow = {
        "apiVersion": "mlpipelines.dev/v1alpha1",
        "kind": "Airflow",
        "metadata": {"name": "default"},
        "spec": {"database": {"secretRef": {"name": "airflow-db", "key": "url"}}},
    }
    kube.apply(_postgres(image), service, secret, airflow, namespace=own_namespace)
    kube.apply(pipeline("mnist", {"dataset": "mnist"}, {"epochs": 1}), namespace=own_namespace)

    run = wait_for_run(kube, own_namespace, "mnist-1")
    assert run["status"]["state"] == "Succeeded", run["status"]
    assert kube.list("statefulsets", own_namespace) == [], "no PostgreSQL of the operator's"
    (postgres,) = [pod for pod in kube.list("pods", own_namespace) if pod["metadata"]["name"] == "postgres"]
    runs = kube.run(
        "exec",
        postgres["metadata"]["name"],
        f"--namespace={own_namespace}",
        "--",
        "psql",
        "-h127.0.0.1",
        "-Uteam",
        f"postgresql://team:{_QUOTED}@127.0.0.1/orchestration",
        "-Atc",
        "select run_id, state from dag_run",
    )
    assert runs.strip() == f"{run['status']['dagRunId']}|success"
    wait_for_state(kube, own_namespace, "mlpipeline/mnist", "Succeeded")
