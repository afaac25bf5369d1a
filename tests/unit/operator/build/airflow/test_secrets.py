import base64
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from mlpipeline_operator.build.airflow import airflow_manifests, airflow_secrets
from mlpipeline_operator.values import AirflowValue
from tests.unit.operator.build.airflow.helpers import containers, of_kind, pod_of, pods


def counting() -> Iterator[int]:
    yield from range(1, 256)


@pytest.fixture
def made(value: AirflowValue) -> dict[str, dict[str, Any]]:
    counter = counting()
    secrets = airflow_secrets(value, lambda size: bytes([next(counter)]) * size)
    return {name: secret["stringData"] for name, secret in of_kind(secrets, "Secret").items()}


def test_every_secret_is_drawn_by_itself(made: dict[str, dict[str, Any]]) -> None:
    keys = made["airflow-orchestra-secrets"]
    drawn = [*keys.values(), made["airflow-orchestra-admin"]["password"]]
    drawn.append(made["airflow-orchestra-database"]["password"])
    assert len(drawn) == len(set(drawn)) == 5


def test_two_airflows_get_different_secrets(value: AirflowValue) -> None:
    first, second = airflow_secrets(value), airflow_secrets(value)
    assert all(a["stringData"] != b["stringData"] for a, b in zip(first, second, strict=True))


def test_the_fernet_key_is_one_that_fernet_takes(made: dict[str, dict[str, Any]]) -> None:
    assert len(base64.urlsafe_b64decode(made["airflow-orchestra-secrets"]["fernet-key"])) == 32


def test_the_jwt_secret_is_long_enough_for_its_algorithm(made: dict[str, dict[str, Any]]) -> None:
    assert len(made["airflow-orchestra-secrets"]["jwt-secret"]) >= 64


def test_the_connection_has_the_password_and_the_databases_service(
    value: AirflowValue, made: dict[str, dict[str, Any]]
) -> None:
    database = made["airflow-orchestra-database"]
    url = urlsplit(database["connection"])
    assert url.password == database["password"]
    service = of_kind(airflow_manifests(value), "Service")["airflow-orchestra-postgresql"]
    assert url.hostname == f"{service['metadata']['name']}.research.svc"
    assert url.port == service["spec"]["ports"][0]["port"]
    server = of_kind(airflow_manifests(value), "StatefulSet")["airflow-orchestra-postgresql"]
    environment = {each["name"]: each.get("value") for each in pod_of(server)["containers"][0]["env"]}
    assert url.username == environment["POSTGRES_USER"]
    assert url.path == f"/{environment['POSTGRES_DB']}"


def test_every_key_that_a_pod_asks_for_is_in_a_secret(
    value: AirflowValue, made: dict[str, dict[str, Any]]
) -> None:
    asked = 0
    for name, spec in pods(value):
        for container in containers(spec):
            for entry in container.get("env", []):
                if reference := entry.get("valueFrom", {}).get("secretKeyRef"):
                    assert reference["key"] in made[reference["name"]], (name, entry["name"])
                    asked += 1
    assert asked > 0


def test_with_an_external_database_no_password_is_made_for_one(external: AirflowValue) -> None:
    made = of_kind(airflow_secrets(external), "Secret")
    assert set(made) == {"airflow-orchestra-secrets", "airflow-orchestra-admin"}
