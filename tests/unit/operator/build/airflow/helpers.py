"""Ways to find things in lists of manifests."""

from collections.abc import Iterator
from typing import Any

import yaml

from mlpipeline_operator import names
from mlpipeline_operator.build.airflow import airflow_manifests
from mlpipeline_operator.values import AirflowValue

Manifest = dict[str, Any]


def of_kind(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    """Return the manifests of a kind by name."""
    return {each["metadata"]["name"]: each for each in manifests if each["kind"] == kind}


def deployment(value: AirflowValue, component: str) -> Manifest:
    """Return a component's Deployment."""
    found = of_kind(airflow_manifests(value), "Deployment")
    return found[names.airflow_component(value.owner.name, component)]


def pod_of(workload: Manifest) -> Manifest:
    """Return a workload's pod spec."""
    spec: Manifest = workload["spec"]["template"]["spec"]
    return spec


def worker(value: AirflowValue) -> Manifest:
    """Return the pod template that the scheduler reads."""
    files = of_kind(airflow_manifests(value), "ConfigMap")[names.airflow_files(value.owner.name)]
    pod: Manifest = yaml.safe_load(files["data"]["pod_template.yaml"])
    return pod


def pods(value: AirflowValue) -> Iterator[tuple[str, Manifest]]:
    """Yield name and spec of every pod that an Airflow consists of, the workers' included."""
    for manifest in airflow_manifests(value):
        if manifest["kind"] in ("Deployment", "StatefulSet"):
            yield manifest["metadata"]["name"], pod_of(manifest)
    yield "worker", worker(value)["spec"]


def containers(spec: Manifest) -> list[Manifest]:
    """Return a pod's containers, init containers first."""
    return [*spec.get("initContainers", []), *spec["containers"]]


def environment(container: Manifest) -> dict[str, Manifest]:
    """Return a container's EnvVars by name."""
    return {entry["name"]: entry for entry in container.get("env", [])}
