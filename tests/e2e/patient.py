"""A training that goes on for as long as a test needs it to, and the parts of the Airflow that it runs in."""

from __future__ import annotations

import re
from pathlib import Path

from tests.e2e.support import PIPELINE_LABEL
from tools.demo.kube import Kube, KubeError, Object

# What a training must outlive. The triggerer has no part in one.
COMPONENTS = ("api-server", "scheduler", "dag-processor", "postgresql")

_SCRIPT = Path(__file__).parent / "code" / "patient.py"
_EPOCH = re.compile(r"^through with epoch (\d+) of \d+$", re.MULTILINE)


def patient(name: str, epochs: int, seconds: float) -> Object:
    """Return an MLPipeline whose training takes ``epochs`` times ``seconds``."""
    return {
        "apiVersion": "mlpipelines.dev/v1alpha1",
        "kind": "MLPipeline",
        "metadata": {"name": name},
        "spec": {
            "training": {"source": {"inline": _SCRIPT.read_text()}},
            "parameters": {"epochs": epochs, "seconds": seconds},
            "objective": {"metric": "val_loss", "goal": "Minimize"},
        },
    }


def step_pods(kube: Kube, namespace: str, name: str) -> list[Object]:
    """Return the pods of a pipeline's steps, of all attempts."""
    return kube.list("pods", namespace, f"{PIPELINE_LABEL}={name}")


def epochs_through(kube: Kube, namespace: str, name: str) -> list[int]:
    """Return the epochs that the logs tell, in their order; none while no log can be read."""
    found: list[int] = []
    for pod in step_pods(kube, namespace, name):
        try:
            log = kube.run("logs", pod["metadata"]["name"], "--container=base", f"--namespace={namespace}")
        except KubeError:
            continue
        found += [int(number) for number in _EPOCH.findall(log)]
    return found


def component_selector(*components: str) -> str:
    """Return what selects the pods of parts of the Airflow ``default``, and what owns them."""
    return f"mlpipelines.dev/airflow=default,app.kubernetes.io/component in ({','.join(components)})"


def restarts(pod: Object) -> int:
    """Return how often the containers of a pod were started anew."""
    return sum(each["restartCount"] for each in pod["status"].get("containerStatuses", []))
