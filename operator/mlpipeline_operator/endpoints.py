"""Where an Airflow is, and who to log in as: from its resource's Secret to a client."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Final

from mlpipeline_operator import names
from mlpipeline_operator.airflow import AirflowClient
from mlpipeline_operator.cluster import Cluster, Manifest, MissingError
from mlpipeline_operator.errors import NotReadyError, SpecError
from mlpipeline_operator.values import ExternalAirflowValue

__all__ = ["Endpoint", "connect", "external_endpoint", "managed_endpoint", "read_version"]

# The oldest whose API has all that the operator asks for (its filters by prefix came with it).
OLDEST: Final = (3, 3)
# What an answer that is not Airflow's looks like to the client.
_NOT_AIRFLOW: Final = frozenset(
    {
        "AirflowForbidden",
        "AirflowNotFound",
        "AirflowRedirects",
        "AirflowRefused",
        # Airflow tells its version to anybody.
        "AirflowUnauthorized",
        "AirflowUnexpectedAnswer",
    }
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How to connect to one Airflow.

    Attributes:
        url: Its address, without ``/api``.
        secret: Secret with ``username`` and ``password``, or with a ``token``.
        ca: Secret and key of the certificates to trust; the system's if None.
        verify_tls: Whether to look at certificates at all.
        is_external: Whether somebody else runs it.
    """

    url: str
    secret: str
    ca: tuple[str, str] | None = None
    verify_tls: bool = True
    is_external: bool = False


def managed_endpoint(template: str, namespace: str, airflow: str) -> Endpoint:
    """The endpoint of an Airflow of ours; ``template`` is ``Settings.airflow_url_template``."""
    service = names.airflow_component(airflow, "api-server")
    url = template.format(service=service, namespace=namespace, port=names.AIRFLOW_PORT)
    return Endpoint(url, names.airflow_admin_secret(airflow))


def external_endpoint(value: ExternalAirflowValue) -> Endpoint:
    """The endpoint of an Airflow of somebody else's."""
    return Endpoint(value.url, value.secret, value.ca, value.verify_tls, is_external=True)


async def connect(cluster: Cluster, namespace: str, endpoint: Endpoint) -> AirflowClient:
    """Make a client from what the Secrets hold now.

    Raises:
        NotReadyError: A Secret or one of its keys is not there.
        TransientError: The API server could not be asked.
    """
    secret = await _read(cluster, namespace, endpoint.secret)
    ca = None
    if endpoint.ca is not None:
        name, key = endpoint.ca
        ca = _value(await _read(cluster, namespace, name), key)
        if ca is None:
            raise NotReadyError(f"Secret {name} has no key {key}", reason="CertificatesNotFound")
    token, username, password = (_value(secret, key) for key in ("token", "username", "password"))
    if not token and not (username and password):
        raise NotReadyError(
            f"Secret {endpoint.secret} has neither the key token nor the keys username and password",
            reason="CredentialsNotFound",
        )
    return AirflowClient(
        endpoint.url,
        username or "",
        password or "",
        token=token,
        ca=ca,
        verify_tls=endpoint.verify_tls,
    )


async def read_version(client: AirflowClient) -> str:
    """The version of what answers, if that is an Airflow that the operator can talk to.

    Raises:
        NotReadyError: It is none (``NotAirflow``) or one too old (``AirflowTooOld``).
        TransientError: It could not be asked.
    """
    try:
        version = await client.version()
    except (NotReadyError, SpecError) as error:
        if error.reason in _NOT_AIRFLOW:
            raise NotReadyError(
                f"what answers at {client.url} is not the API of an Airflow 3: {error.message}",
                reason="NotAirflow",
            ) from error
        raise
    numbers = re.match(r"(\d+)\.(\d+)", version)
    oldest = ".".join(map(str, OLDEST))
    if numbers is None or (int(numbers[1]), int(numbers[2])) < OLDEST:
        raise NotReadyError(
            f"the Airflow at {client.url} is {version}: the operator needs {oldest} or newer",
            reason="AirflowTooOld",
        )
    return version


async def _read(cluster: Cluster, namespace: str, name: str) -> Manifest:
    try:
        return await cluster.get("Secret", namespace, name)
    except MissingError as error:
        raise NotReadyError(
            f"there is no Secret {name} in namespace {namespace}", reason="CredentialsNotFound"
        ) from error


def _value(secret: Manifest, key: str) -> str | None:
    data = (secret.get("data") or {}).get(key)
    # A file that was made into a Secret ends with a line break.
    return base64.b64decode(data).decode().rstrip("\n") if data else None
