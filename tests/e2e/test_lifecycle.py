"""Restarts and ends: nothing is written without a reason, and what goes leaves nothing behind."""

from __future__ import annotations

import json
import secrets
import time

from tests.e2e.support import (
    PIPELINE_LABEL,
    AirflowApi,
    pipeline,
    state,
    until,
    wait_for_run,
    wait_for_state,
)
from tools.demo.install import NAMESPACE
from tools.demo.kube import Kube, Object

_OURS = "mlpipelines,mlpipelineruns,airflows"
_CHILDREN = (
    "configmaps,secrets,services,serviceaccounts,persistentvolumeclaims,deployments,statefulsets,roles,"
    "rolebindings"
)
_NAMESPACE_BOUND_SECONDS = 120


def _versions(kube: Kube, namespace: str) -> dict[tuple[str, str], str]:
    """What tells whether the operator wrote to an object: its resource version.

    Workloads and volume claims count by their spec alone: Kubernetes writes their status whenever it likes (a
    claim's, for one, when the last pod that mounts it ends).
    """
    found = {}
    for body in [*kube.list(_OURS, namespace), *kube.list(_CHILDREN, namespace)]:
        metadata = body["metadata"]
        has_status = body["kind"] in {"Deployment", "StatefulSet", "PersistentVolumeClaim"}
        spec = json.dumps(body.get("spec"), sort_keys=True)
        found[body["kind"], metadata["name"]] = spec if has_status else metadata["resourceVersion"]
    return found


def _settled(kube: Kube, namespace: str) -> dict[tuple[str, str], str]:
    """The versions, once what earlier tests have left comes to rest."""
    seen: list[dict[tuple[str, str], str]] = [{}]

    def rests() -> bool:
        seen.append(_versions(kube, namespace))
        return seen[-1] == seen[-2]

    until("nothing is written any more", rests, seconds=180, every=5)
    return seen[-1]


def test_a_restart_of_the_operator_writes_nothing(kube: Kube, namespace: str, mnist: Object) -> None:
    before = _settled(kube, namespace)
    pods = kube.list("pods", NAMESPACE, "app.kubernetes.io/name=mlpipeline-operator")
    (old,) = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    kube.delete("pod", old["metadata"]["name"], NAMESPACE, wait=120)
    kube.run("rollout", "status", "deployment/mlpipeline-operator", f"--namespace={NAMESPACE}")

    def leads() -> bool:
        lease = kube.get("lease", "mlpipeline-operator", NAMESPACE) or {}
        holder = (lease.get("spec") or {}).get("holderIdentity") or ""
        return bool(holder) and not holder.startswith(old["metadata"]["name"])

    until("the new operator leads", leads, seconds=180)
    # Long enough for a first look at everything, polls of Airflow included.
    time.sleep(15)
    assert _versions(kube, namespace) == before


def test_deleting_a_pipeline_takes_its_runs_dag_and_pods_along(
    kube: Kube, namespace: str, mnist: Object, airflow: AirflowApi
) -> None:
    name = "short-lived"
    kube.apply(pipeline(name, {"dataset": "mnist"}, {"epochs": -1}), namespace=namespace)

    assert state(wait_for_run(kube, namespace, f"{name}-1")) == "Failed"
    kinds = "mlpipelineruns,configmaps,pods"
    assert kube.list(kinds, namespace, f"{PIPELINE_LABEL}={name}")
    kube.delete("mlpipeline", name, namespace, wait=180)

    def gone() -> bool:
        return not kube.list(kinds, namespace, f"{PIPELINE_LABEL}={name}")

    until("all that belonged to it is gone", gone, seconds=180)

    def forgotten() -> bool:
        dag = airflow.get(f"/dags/{namespace}.{name}")
        return dag is None or bool(dag.get("is_stale"))

    until("Airflow runs its DAG no more", forgotten, seconds=180)
    assert kube.get("mlpipeline", "mnist", namespace) is not None


def test_a_namespace_with_a_training_under_way_ends_within_a_bound(
    kube: Kube, figures: dict[str, float]
) -> None:
    name = f"e2e-ending-{secrets.token_hex(3)}"
    kube.run("create", "namespace", name)
    kube.apply(pipeline("mnist", {"dataset": "mnist"}, {"epochs": 1000}), namespace=name)

    wait_for_state(kube, name, "mlpipelinerun/mnist-1", "Running", seconds=600)
    started = time.monotonic()
    kube.delete("namespace", name, wait=_NAMESPACE_BOUND_SECONDS)
    figures["s to delete a namespace with Airflow and a training under way"] = time.monotonic() - started
    assert kube.get("namespace", name) is None
