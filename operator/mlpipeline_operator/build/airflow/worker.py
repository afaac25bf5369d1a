"""The pod in which KubernetesExecutor runs a task; a DAG's ``pod_override`` is laid over it."""

from __future__ import annotations

from typing import Any, Final

from mlpipeline_operator import names
from mlpipeline_operator.build.airflow.pods import (
    CONTAINER_SECURITY,
    config_source,
    merge_env,
    pod_security,
    scratch_mounts,
    scratch_volumes,
)
from mlpipeline_operator.build.airflow.rbac import WORKER
from mlpipeline_operator.values import AirflowValue

__all__ = ["WORKER_RESOURCES", "pod_template"]

# Of a worker whose step says nothing of its own.
WORKER_RESOURCES: Final = {"requests": {"cpu": "100m", "memory": "256Mi"}}
# Time to save a checkpoint after SIGTERM.
_GRACE_SECONDS: Final = 60


def pod_template(value: AirflowValue) -> dict[str, Any]:
    """Return the worker's pod template.

    A worker runs users' code: it gets neither the database's credentials nor Airflow's keys. The token for
    its one task comes with the task, and all else over the execution API.
    """
    name = value.owner.name
    container = {
        # KubernetesExecutor wants the task's container to be the first, by this name.
        "name": "base",
        "image": value.image,
        "imagePullPolicy": "IfNotPresent",
        # The executor gives the arguments; this entry runs them, with plain text as the pod's log.
        "command": ["python", "-m", "mlpipeline_dags.worker"],
        "envFrom": [config_source(value)],
        # Libraries cache under the home folder, and the image's is read-only.
        "env": merge_env([{"name": "HOME", "value": "/tmp"}], value.env),
        "resources": WORKER_RESOURCES,
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "File",
        "volumeMounts": scratch_mounts(),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "worker", "labels": names.airflow_labels(name, WORKER)},
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": names.airflow_service_account(name, WORKER),
            # The DAG bundle reads its ConfigMaps.
            "automountServiceAccountToken": True,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": _GRACE_SECONDS,
            "securityContext": pod_security(),
            "containers": [container],
            # The artifacts come with the DAG, whose volumes Airflow adds: no name may be there twice.
            "volumes": scratch_volumes(),
        },
    }
