"""An Airflow that the operator did not make, and what its people do to let another namespace use it.

Its components are those of a managed one, since a test need not say again how to start Airflow; but nothing
tells the operator of them, and of the settings only what an Airflow needs at all is left: the rest are
Airflow's own defaults. What the user guide asks for is below, each part by its number there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mlpipeline_operator.build.airflow import airflow_manifests, airflow_secrets
from mlpipeline_operator.validate import validate_airflow
from mlpipeline_operator.values import Images
from tests.e2e.support import AirflowApi, forwarded
from tools.demo.kube import Kube, Object

# Rendered by one name and called by another: Airflow's Helm chart has these, "airflow-scheduler" and so on.
_RENDERED = "airflow-central-"
_CALLED = "airflow-"
_SERVICE = "airflow-api-server"
# Those of a managed Airflow's own namespace; no step runs in this one's.
_OF_STEPS = {"airflow-artifacts", "airflow-launcher", "airflow-worker"}
_KEPT = {
    "AIRFLOW_HOME",
    "AIRFLOW__API__WORKERS",
    "AIRFLOW__CORE__AUTH_MANAGER",
    "AIRFLOW__CORE__EXECUTION_API_SERVER_URL",
    "AIRFLOW__CORE__EXECUTOR",
    "AIRFLOW__CORE__HOSTNAME_CALLABLE",
    "AIRFLOW__CORE__LOAD_EXAMPLES",
    "AIRFLOW__DATABASE__CHECK_MIGRATIONS",
    "AIRFLOW__FAB__UPDATE_FAB_PERMS",
    "AIRFLOW__KUBERNETES_EXECUTOR__POD_TEMPLATE_FILE",
    "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK",
}
_SECURITY = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def url(namespace: str) -> str:
    """Return the address of the Airflow in a namespace."""
    return f"http://{_SERVICE}.{namespace}.svc:8080"


def login(manifests: list[Object]) -> dict[str, str]:
    """Return ``username`` and ``password`` of the Airflow's administrator."""
    (secret,) = [each for each in manifests if each["metadata"]["name"] == f"{_CALLED}admin"]
    return dict(secret["stringData"])


@contextmanager
def api(kube: Kube, namespace: str, user: Mapping[str, str]) -> Iterator[AirflowApi]:
    """Open the Airflow's REST API as a user of its."""
    command = kube.command("port-forward", f"--namespace={namespace}", f"service/{_SERVICE}", ":8080")
    with forwarded(command) as port:
        yield AirflowApi(port, user["username"], user["password"])


def airflow(images: Mapping[str, str], namespace: str, serves: str, pointer: str) -> list[Object]:
    """Return the manifests of an Airflow in ``namespace`` that also takes the DAGs of ``serves``."""
    body = {"metadata": {"name": "central", "namespace": namespace, "uid": "of-nobody"}, "spec": {}}
    image, postgres = images["MLP_AIRFLOW_IMAGE"], images["MLP_POSTGRES_IMAGE"]
    value = validate_airflow(body, Images(image, images["MLP_TRAINER_IMAGE"], postgres))
    manifests = [_foreign(each) for each in [*airflow_secrets(value), *airflow_manifests(value)]]
    manifests = [each for each in manifests if each["metadata"]["name"] not in _OF_STEPS]
    for each in manifests:
        data, name = each.get("data", {}), each["metadata"]["name"]
        if name == f"{_CALLED}config":
            settings = {key: text for key, text in data.items() if key in _KEPT}
            each["data"] = settings | _settings(namespace, serves, pointer)
        if name == f"{_CALLED}files":
            template = _pod_template(image, namespace, serves, pointer)
            each["data"] = data | {"pod_template.yaml": json.dumps(template)}
    return manifests


def _foreign(manifest: Object) -> Object:
    """Return a manifest that the operator has nothing to do with: neither its labels nor an owner."""
    text = json.dumps(manifest).replace("mlpipelines.dev/", "platform.example/")
    found: Object = json.loads(
        text.replace("mlpipeline-operator", "platform-team").replace(_RENDERED, _CALLED)
    )
    found["metadata"].pop("ownerReferences", None)
    return found


def _bundles(serves: str, pointer: str) -> str:
    """The bundle, for the components and the workers."""
    arguments = {"namespace": serves, "pointer": pointer, "refresh_interval": 1}
    bundle = {"name": serves, "classpath": "mlpipeline_dags.bundle.ConfigMapDagBundle", "kwargs": arguments}
    return json.dumps([bundle])


def _settings(namespace: str, serves: str, pointer: str) -> dict[str, str]:
    return {
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": _bundles(serves, pointer),
        # Not needed for a status, but for a log to read.
        "AIRFLOW__KUBERNETES_EXECUTOR__DELETE_WORKER_PODS": "False",
        "AIRFLOW__KUBERNETES_EXECUTOR__NAMESPACE": namespace,
        "AIRFLOW__KUBERNETES_EXECUTOR__MULTI_NAMESPACE_MODE": "True",
        "AIRFLOW__KUBERNETES_EXECUTOR__MULTI_NAMESPACE_MODE_NAMESPACE_LIST": f"{namespace},{serves}",
    }


def _pod_template(image: str, namespace: str, serves: str, pointer: str) -> Object:
    """What the workers need to know, in plain words: a ConfigMap would have to be in ``serves``, too."""
    environment = {
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url(namespace)}/execution/",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": _bundles(serves, pointer),
    }
    container = {
        "name": "base",
        "image": image,
        "command": ["python", "-m", "mlpipeline_dags.worker"],
        "env": [{"name": name, "value": text} for name, text in environment.items()],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
        "securityContext": _SECURITY,
    }
    security = {"runAsNonRoot": True, "runAsUser": 50000, "runAsGroup": 0, "fsGroup": 0}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "worker"},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": security | {"seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
        },
    }
