"""What Airflow's pods have in common: security, scratch folders, environment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from mlpipeline_operator import names
from mlpipeline_operator.build.airflow.secrets import (
    API_SECRET_KEY,
    CONNECTION_KEY,
    FERNET_KEY,
    JWT_SECRET,
)
from mlpipeline_operator.values import AirflowValue, ExternalDatabase

__all__ = [
    "AIRFLOW_HOME",
    "CONTAINER_SECURITY",
    "FILES_MOUNT",
    "component_env",
    "config_source",
    "from_secret",
    "merge_env",
    "pod_security",
    "scratch_mounts",
    "scratch_volumes",
]

# User and group of Airflow's images, the upstream ones and ours.
_AIRFLOW_UID: Final = 50000
_AIRFLOW_GID: Final = 0

AIRFLOW_HOME: Final = "/opt/airflow"
# Where components find the pod template and our scripts.
FILES_MOUNT: Final = "/opt/mlp"

# Together with pod_security: the Pod Security Standard "restricted", and a root that nothing writes to.
CONTAINER_SECURITY: Final[dict[str, Any]] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}

_SCRATCH: Final = {"home": AIRFLOW_HOME, "tmp": "/tmp"}


def pod_security(uid: int = _AIRFLOW_UID, gid: int = _AIRFLOW_GID) -> dict[str, Any]:
    """Return a pod's security context; its volumes belong to group ``gid``."""
    return {
        "runAsNonRoot": True,
        "runAsUser": uid,
        "runAsGroup": gid,
        "fsGroup": gid,
        # A large volume is not walked through at each start.
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def scratch_volumes() -> list[dict[str, Any]]:
    """Return the volumes that Airflow writes to: its home (settings, logs) and the temporary folder."""
    return [{"name": name, "emptyDir": {}} for name in _SCRATCH]


def scratch_mounts() -> list[dict[str, Any]]:
    """Return where ``scratch_volumes`` are mounted."""
    return [{"name": name, "mountPath": path} for name, path in _SCRATCH.items()]


def config_source(value: AirflowValue) -> dict[str, Any]:
    """Return the ``envFrom`` entry with Airflow's settings."""
    return {"configMapRef": {"name": names.airflow_config(value.owner.name)}}


def component_env(value: AirflowValue, extra: Iterable[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
    """Return the environment of a component: the secrets, by reference only, and what the user added.

    Workers get none of this: they are told what they need over the execution API.
    """
    secret = names.airflow_secrets(value.owner.name)
    if isinstance(value.database, ExternalDatabase):
        database = (value.database.secret, value.database.key)
    else:
        database = (names.airflow_database_secret(value.owner.name), CONNECTION_KEY)
    ours = [
        from_secret("AIRFLOW__CORE__FERNET_KEY", secret, FERNET_KEY),
        from_secret("AIRFLOW__API__SECRET_KEY", secret, API_SECRET_KEY),
        from_secret("AIRFLOW__API_AUTH__JWT_SECRET", secret, JWT_SECRET),
        from_secret("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", *database),
        *extra,
    ]
    return merge_env(value.env, ours)


def merge_env(*layers: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return EnvVars of all layers; of two with one name the later layer's stays."""
    merged = {entry["name"]: dict(entry) for layer in layers for entry in layer}
    return list(merged.values())


def from_secret(variable: str, secret: str, key: str) -> dict[str, Any]:
    """Return an EnvVar that takes its value from a Secret."""
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
