"""The Deployments of Airflow's components."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mlpipeline_operator import names
from mlpipeline_operator.build.airflow.files import config_hash, files_volume, script
from mlpipeline_operator.build.airflow.pods import (
    CONTAINER_SECURITY,
    FILES_MOUNT,
    component_env,
    config_source,
    from_secret,
    pod_security,
    scratch_mounts,
    scratch_volumes,
)
from mlpipeline_operator.build.airflow.probes import probes
from mlpipeline_operator.build.airflow.rbac import NEEDS_API_SERVER
from mlpipeline_operator.build.meta import object_meta
from mlpipeline_operator.values import AirflowValue, ComponentSettings

__all__ = ["deployments"]

# Memory as measured at rest, with room for the children that scheduler and dag-processor fork. CPU: when all
# start at once, who requests most goes first, and the api-server has the longest way. There is no limit on
# it: that would only slow the start.
_REQUESTS: Final[Mapping[str, Mapping[str, str]]] = {
    "api-server": {"cpu": "150m", "memory": "384Mi"},
    "scheduler": {"cpu": "100m", "memory": "384Mi"},
    "dag-processor": {"cpu": "50m", "memory": "320Mi"},
    "triggerer": {"cpu": "25m", "memory": "256Mi"},
}

_PORTS: Final[Mapping[str, int]] = {"api-server": names.AIRFLOW_PORT}

# What a component may take to end. All hold their state in the database; where that went first, as it may
# with a namespace, they only use the time up. The api-server finishes its requests.
_GRACE_SECONDS: Final[Mapping[str, int]] = {
    "api-server": 30,
    "scheduler": 20,
    "dag-processor": 10,
    "triggerer": 10,
}

# Airflow reads a running step's log from its pod; with this, a finished step's as well, while the pod stays.
_LOGS_FROM_PODS: Final = [
    {"name": "AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS", "value": "mlpipeline_dags.podlogs.LOGGING_CONFIG"}
]


def deployments(value: AirflowValue) -> list[dict[str, Any]]:
    """Return a Deployment per component, in the order of ``names.COMPONENTS``."""
    digest = config_hash(value)
    return [_deployment(value, component, digest) for component in names.COMPONENTS]


def _deployment(value: AirflowValue, component: str, digest: str) -> dict[str, Any]:
    name = value.owner.name
    settings = value.components[component]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": object_meta(
            value.owner,
            names.airflow_component(name, component),
            names.airflow_labels(name, component),
        ),
        "spec": {
            "replicas": settings.replicas,
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": names.airflow_selector(name, component)},
            "strategy": _strategy(component),
            "template": {
                "metadata": {
                    "labels": names.airflow_labels(name, component),
                    "annotations": {names.CONFIG_HASH_ANNOTATION: digest},
                },
                "spec": _pod(value, component, settings),
            },
        },
    }


def _strategy(component: str) -> dict[str, Any]:
    if component == "scheduler":
        # The next one adopts the running pods at its start, and only of a scheduler that has ended.
        return {"type": "Recreate"}
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def _pod(value: AirflowValue, component: str, settings: ComponentSettings) -> dict[str, Any]:
    container: dict[str, Any] = {
        **_container(value, component, ["python", script("start"), component]),
        "env": component_env(value, _LOGS_FROM_PODS if component == "api-server" else ()),
        "resources": dict(settings.resources) or {"requests": dict(_REQUESTS[component])},
        **probes(component),
    }
    if component in _PORTS:
        container["ports"] = [{"name": "http", "containerPort": _PORTS[component], "protocol": "TCP"}]
    pod: dict[str, Any] = {
        "serviceAccountName": names.airflow_service_account(value.owner.name, component),
        "automountServiceAccountToken": component in NEEDS_API_SERVER,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _GRACE_SECONDS[component],
        "securityContext": pod_security(),
        "containers": [container],
        "volumes": [*scratch_volumes(), files_volume(value)],
    }
    if component == _migrating(value):
        pod["initContainers"] = [_setup(value)]
    return pod


def _migrating(value: AirflowValue) -> str | None:
    """The component whose pod migrates: the one with the least to do afterwards, of those that run at all.

    The others, the api-server with its long start above all, import Airflow meanwhile.
    """
    running = [component for component in reversed(names.COMPONENTS) if value.components[component].replicas]
    return running[0] if running else None


def _setup(value: AirflowValue) -> dict[str, Any]:
    """The init container that migrates the database and sees to roles and administrator."""
    admin = names.airflow_admin_secret(value.owner.name)
    extra = [
        from_secret("MLP_ADMIN_USERNAME", admin, "username"),
        from_secret("MLP_ADMIN_PASSWORD", admin, "password"),
    ]
    return {
        **_container(value, "setup", ["python", "-m", "mlpipeline_dags.setup"]),
        "env": component_env(value, extra),
        # All others wait for it.
        "resources": {"requests": dict(_REQUESTS["api-server"])},
    }


def _container(value: AirflowValue, name: str, command: list[str]) -> dict[str, Any]:
    return {
        "name": name,
        "image": value.image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "envFrom": [config_source(value)],
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [
            *scratch_mounts(),
            {"name": "files", "mountPath": FILES_MOUNT, "readOnly": True},
        ],
    }
