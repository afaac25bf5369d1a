"""The Secrets of a managed Airflow: generated once, created if absent, never rewritten."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

from mlpipeline_operator import names
from mlpipeline_operator.build.meta import object_meta
from mlpipeline_operator.values import AirflowValue, EmbeddedDatabase

__all__ = [
    "ADMIN_USER",
    "API_SECRET_KEY",
    "CONNECTION_KEY",
    "DATABASE_PASSWORD_KEY",
    "DATABASE_USER",
    "FERNET_KEY",
    "JWT_SECRET",
    "airflow_secrets",
]

# Keys inside the Secrets.
FERNET_KEY: Final = "fernet-key"
API_SECRET_KEY: Final = "api-secret-key"
JWT_SECRET: Final = "jwt-secret"
DATABASE_PASSWORD_KEY: Final = "password"
CONNECTION_KEY: Final = "connection"

ADMIN_USER: Final = "admin"
# Role and database of the embedded PostgreSQL.
DATABASE_USER: Final = "airflow"


def airflow_secrets(
    value: AirflowValue, generate: Callable[[int], bytes] = secrets.token_bytes
) -> list[dict[str, Any]]:
    """Return the Secrets to create if they are absent.

    They share the fate of the database's volume: without an owner where that is retained, since a kept
    database is of no use without its password and its fernet key.

    Args:
        value: The Airflow that they belong to.
        generate: Gives that many random bytes.
    """
    name = value.owner.name
    found = [
        _secret(
            value,
            names.airflow_secrets(name),
            {
                # What cryptography.fernet.Fernet takes: 32 bytes in URL-safe base64.
                FERNET_KEY: _text(generate(32)),
                API_SECRET_KEY: _text(generate(32)),
                # HS512 wants a key of at least 64 bytes.
                JWT_SECRET: _text(generate(64)),
            },
        ),
        _secret(
            value,
            names.airflow_admin_secret(name),
            {"username": ADMIN_USER, "password": _text(generate(18))},
        ),
    ]
    if isinstance(value.database, EmbeddedDatabase):
        # Hexadecimal: goes into a URL as it is.
        password = generate(24).hex()
        host = f"{names.airflow_postgres(name)}.{value.owner.namespace}.svc"
        url = f"postgresql+psycopg2://{DATABASE_USER}:{password}@{host}:{names.POSTGRES_PORT}/{DATABASE_USER}"
        found.append(
            _secret(
                value,
                names.airflow_database_secret(name),
                {DATABASE_PASSWORD_KEY: password, CONNECTION_KEY: url},
            )
        )
    return found


def _secret(value: AirflowValue, name: str, data: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": object_meta(
            value.owner, name, names.airflow_labels(value.owner.name), owned=not value.retain
        ),
        "type": "Opaque",
        "stringData": dict(data),
    }


def _text(random: bytes) -> str:
    return base64.urlsafe_b64encode(random).decode()
