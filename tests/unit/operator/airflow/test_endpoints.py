"""From a Secret to a client, and what is told where that does not work."""

import base64
from typing import Any

import pytest

from mlpipeline_operator.airflow import AirflowClient
from mlpipeline_operator.api.airflow import AirflowSpec
from mlpipeline_operator.api.airflow_rules import MANAGED
from mlpipeline_operator.cluster import MissingError
from mlpipeline_operator.endpoints import Endpoint, connect, managed_endpoint, read_version
from mlpipeline_operator.errors import NotReadyError, TransientError
from tests.support.fake_airflow import FakeAirflow

Body = dict[str, Any]


class Secrets:
    """The API server, where only Secrets are read."""

    def __init__(self, **secrets: dict[str, str]) -> None:
        self._secrets = secrets

    async def get(self, kind: str, namespace: str, name: str) -> Body:
        assert (kind, namespace) == ("Secret", "research")
        if name not in self._secrets:
            raise MissingError(f"secrets {name} not found")
        data = {key: base64.b64encode(text.encode()).decode() for key, text in self._secrets[name].items()}
        return {"data": data}


async def client_of(endpoint: Endpoint, **secrets: dict[str, str]) -> AirflowClient:
    return await connect(Secrets(**secrets), "research", endpoint)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("secrets", "reason", "words"),
    [
        ({}, "CredentialsNotFound", "there is no Secret login in namespace research"),
        ({"login": {"username": "x"}}, "CredentialsNotFound", "neither the key token nor the keys username"),
        ({"login": {"token": "x"}, "ca": {"x": "y"}}, "CertificatesNotFound", "has no key ca.crt"),
    ],
)
async def test_a_secret_that_lacks_something_is_named(
    secrets: dict[str, dict[str, str]], reason: str, words: str
) -> None:
    endpoint = Endpoint("http://127.0.0.1:1", "login", ("ca", "ca.crt"))
    with pytest.raises(NotReadyError, match=words) as caught:
        await client_of(endpoint, **({"ca": {"ca.crt": "x"}} | secrets))
    assert caught.value.reason == reason


async def test_a_user_and_a_password_log_in_whose_secret_was_made_from_files() -> None:
    async with FakeAirflow(username="operator", password="secret") as airflow:
        login = {"username": "operator\n", "password": "secret\n"}
        client = await client_of(Endpoint(airflow.url, "login"), login=login)
        assert await client.dags(["x"]) == {}
        await client.close()


async def test_a_token_is_used_as_it_is_and_a_refused_one_is_told() -> None:
    async with FakeAirflow() as airflow:
        issuer = AirflowClient(airflow.url, "admin", "admin")
        await issuer.dags(["x"])
        token = issuer._transport._client.configuration.access_token
        await issuer.close()
        airflow.requests.clear()
        client = await client_of(Endpoint(airflow.url, "login"), login={"token": token})
        assert await client.dags(["x"]) == {}
        airflow.expire_tokens()
        with pytest.raises(NotReadyError) as caught:
            await client.dags(["x"])
        assert caught.value.reason == "AirflowUnauthorized"
        assert "POST auth/token" not in airflow.requests
        await client.close()


async def test_the_version_is_read_without_logging_in() -> None:
    async with FakeAirflow(password="another") as airflow:
        client = AirflowClient(airflow.url, "admin", "admin")
        assert await read_version(client) == "3.3.2"
        assert "POST auth/token" not in airflow.requests
        await client.close()


@pytest.mark.parametrize("version", ["2.10.5", "3.2.9", "unknown"])
async def test_an_airflow_that_is_too_old_is_told_so(version: str) -> None:
    async with FakeAirflow() as airflow:
        airflow.version = version
        client = AirflowClient(airflow.url)
        with pytest.raises(NotReadyError, match=r"the operator needs 3\.3 or newer") as caught:
            await read_version(client)
        assert caught.value.reason == "AirflowTooOld"
        await client.close()


@pytest.mark.parametrize("status", [301, 401, 403, 404, 418])
async def test_what_is_no_airflow_is_told_so(status: int) -> None:
    async with FakeAirflow() as airflow:
        airflow.fail(status, "version")
        client = AirflowClient(airflow.url)
        with pytest.raises(NotReadyError, match="not the API of an Airflow 3") as caught:
            await read_version(client)
        assert caught.value.reason == "NotAirflow"
        await client.close()


async def test_an_airflow_that_is_away_is_expected_back() -> None:
    client = AirflowClient("http://127.0.0.1:1")
    with pytest.raises(TransientError) as caught:
        await read_version(client)
    assert caught.value.reason == "AirflowUnreachable"
    await client.close()


def test_a_managed_airflow_is_reached_by_the_template_as_its_administrator() -> None:
    endpoint = managed_endpoint("http://{service}.{namespace}.svc:{port}", "research", "default")
    assert endpoint == Endpoint(
        "http://airflow-default-api-server.research.svc:8080", "airflow-default-admin"
    )


def test_every_field_of_a_managed_airflow_is_refused_beside_external() -> None:
    fields = {field.alias or name for name, field in AirflowSpec.model_fields.items()}
    assert fields - {"external"} == set(MANAGED)
