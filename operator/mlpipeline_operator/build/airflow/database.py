"""The embedded PostgreSQL: one StatefulSet on a claim of its own, and the Service before it.

The environment is that of the upstream image (``POSTGRES_USER`` and so on), so that it runs as well as ours.
"""

from __future__ import annotations

from typing import Any, Final

from mlpipeline_operator import names
from mlpipeline_operator.build.airflow.pods import CONTAINER_SECURITY, from_secret, pod_security
from mlpipeline_operator.build.airflow.secrets import DATABASE_PASSWORD_KEY, DATABASE_USER
from mlpipeline_operator.build.meta import object_meta
from mlpipeline_operator.values import AirflowValue, EmbeddedDatabase

__all__ = ["database_manifests"]

COMPONENT: Final = "postgresql"

# User and group ``postgres`` of the upstream image and of ours.
_POSTGRES_ID: Final = 999
_DATA: Final = "/var/lib/postgresql/data"
# At the start all wait for it.
_REQUESTS: Final = {"requests": {"cpu": "150m", "memory": "128Mi"}}


def database_manifests(value: AirflowValue) -> list[dict[str, Any]]:
    """Return Service and StatefulSet of the embedded database; nothing for one of the user's."""
    if not isinstance(value.database, EmbeddedDatabase):
        return []
    return [_service(value), _stateful_set(value, value.database)]


def _meta(value: AirflowValue) -> dict[str, Any]:
    name = value.owner.name
    return object_meta(value.owner, names.airflow_postgres(name), names.airflow_labels(name, COMPONENT))


def _service(value: AirflowValue) -> dict[str, Any]:
    # Not headless: the name resolves before the pod is ready, so no "no such host" is cached anywhere.
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _meta(value),
        "spec": {
            "type": "ClusterIP",
            "selector": names.airflow_selector(value.owner.name, COMPONENT),
            "ports": [
                {
                    "name": "postgresql",
                    "port": names.POSTGRES_PORT,
                    "targetPort": "postgresql",
                    "protocol": "TCP",
                }
            ],
        },
    }


def _stateful_set(value: AirflowValue, database: EmbeddedDatabase) -> dict[str, Any]:
    name = value.owner.name
    claim: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": database.size}},
    }
    if database.storage_class is not None:
        claim["storageClassName"] = database.storage_class
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": _meta(value),
        "spec": {
            "serviceName": names.airflow_postgres(name),
            "replicas": 1,
            "selector": {"matchLabels": names.airflow_selector(name, COMPONENT)},
            "persistentVolumeClaimRetentionPolicy": {
                "whenDeleted": "Retain" if value.retain else "Delete",
                "whenScaled": "Retain",
            },
            "template": {
                "metadata": {"labels": names.airflow_labels(name, COMPONENT)},
                "spec": _pod(value, database),
            },
            "volumeClaimTemplates": [
                {
                    "metadata": {"name": "data", "labels": names.airflow_labels(name, COMPONENT)},
                    "spec": claim,
                }
            ],
        },
    }


def _pod(value: AirflowValue, database: EmbeddedDatabase) -> dict[str, Any]:
    # -h: only by TCP, which opens when the first start is through.
    ready = {"exec": {"command": ["pg_isready", "-q", "-h", "127.0.0.1", "-U", DATABASE_USER]}}
    container = {
        "name": COMPONENT,
        "image": database.image,
        "imagePullPolicy": "IfNotPresent",
        "env": [
            {"name": "POSTGRES_USER", "value": DATABASE_USER},
            {"name": "POSTGRES_DB", "value": DATABASE_USER},
            from_secret(
                "POSTGRES_PASSWORD",
                names.airflow_database_secret(value.owner.name),
                DATABASE_PASSWORD_KEY,
            ),
            # A folder below the mount: the root of a volume may hold a lost+found.
            {"name": "PGDATA", "value": f"{_DATA}/pgdata"},
        ],
        "ports": [{"name": "postgresql", "containerPort": names.POSTGRES_PORT, "protocol": "TCP"}],
        "resources": dict(database.resources) or _REQUESTS,
        "securityContext": CONTAINER_SECURITY,
        "startupProbe": {**ready, "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 600},
        "readinessProbe": {**ready, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3},
        # A database that is busy recovering accepts connections later: only a dead port restarts it.
        "livenessProbe": {
            "tcpSocket": {"port": "postgresql"},
            "periodSeconds": 15,
            "timeoutSeconds": 10,
            "failureThreshold": 8,
        },
        "volumeMounts": [
            {"name": "data", "mountPath": _DATA},
            {"name": "run", "mountPath": "/var/run/postgresql"},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # A clean shutdown writes a checkpoint.
        "terminationGracePeriodSeconds": 60,
        "securityContext": pod_security(_POSTGRES_ID, _POSTGRES_ID),
        "containers": [container],
        "volumes": [{"name": "run", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
    }
