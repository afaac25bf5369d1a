"""Follow a pipeline until its newest run has ended, a line for each change of its state."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tools.demo.kube import Kube, KubeError, Object

__all__ = ["Followed", "NotFinishedError", "follow", "has_failed", "run_again"]

_INTERVAL_SECONDS = 1.0
_TAKEN_UP_SECONDS = 60
_SUCCEEDED = "Succeeded"
# In these states only an edit of the pipeline helps.
_ENDED_BADLY = frozenset({"Failed", "Invalid", "GateFailed"})


class NotFinishedError(Exception):
    """The pipeline failed or took too long; the message says which, in the status's words."""


@dataclass
class Followed:
    """What was seen of a pipeline.

    Attributes:
        pipeline: The resource as it was last read.
        transitions: State and the seconds since the start at which it was first seen, in order.
    """

    pipeline: Object = field(default_factory=dict)
    transitions: list[tuple[str, float]] = field(default_factory=list)


def follow(kube: Kube, namespace: str, name: str, *, timeout: float, tell: Callable[[str], None]) -> Followed:
    """Return once the pipeline's current generation has succeeded.

    Args:
        kube: The cluster.
        namespace: The pipeline's namespace.
        name: The pipeline's name.
        timeout: Seconds to wait at most.
        tell: Called with one line per change.

    Raises:
        NotFinishedError: The pipeline failed, is gone, or did not finish in time.
    """
    started = time.monotonic()
    seen = Followed()
    shown = ""
    while True:
        elapsed = time.monotonic() - started
        pipeline = _read(kube, namespace, name)
        if pipeline is not None:
            seen.pipeline = pipeline
            state, message = _state(pipeline)
            if state == "WaitingForAirflow":
                message = _airflow_message(kube, pipeline) or message
            if not seen.transitions or seen.transitions[-1][0] != state:
                seen.transitions.append((state, round(elapsed, 2)))
            if f"{state} {message}" != shown:
                shown = f"{state} {message}"
                tell(f"  {elapsed:6.1f} s  {state:<18} {message}")
            if state == _SUCCEEDED:
                return seen
            if state in _ENDED_BADLY:
                raise NotFinishedError(f"{namespace}/{name} is {state}: {message}")
        if elapsed > timeout:
            raise NotFinishedError(
                f"{namespace}/{name} has not succeeded after {timeout:.0f} s; it is: {shown}"
            )
        time.sleep(_INTERVAL_SECONDS)


def has_failed(kube: Kube, namespace: str, name: str) -> bool:
    """Tell whether the pipeline, as it is written now, was run and failed."""
    pipeline = _read(kube, namespace, name)
    return pipeline is not None and _state(pipeline)[0] == "Failed"


def run_again(kube: Kube, namespace: str, name: str) -> None:
    """Create another run of a pipeline, and wait until the pipeline's status is about that run.

    Raises:
        NotFinishedError: The operator did not take it up.
    """
    run = {
        "apiVersion": "mlpipelines.dev/v1alpha1",
        "kind": "MLPipelineRun",
        "metadata": {"generateName": f"{name}-again-"},
        "spec": {"pipelineRef": {"name": name}},
    }
    where = [f"--namespace={namespace}", "--filename=-", "--output=name"]
    created = kube.run("create", *where, stdin=json.dumps(run)).strip().rpartition("/")[2]
    deadline = time.monotonic() + _TAKEN_UP_SECONDS
    while time.monotonic() < deadline:
        pipeline = _read(kube, namespace, name) or {}
        if ((pipeline.get("status") or {}).get("lastRun") or {}).get("name") == created:
            return
        time.sleep(_INTERVAL_SECONDS)
    raise NotFinishedError(f"the operator has not taken up {namespace}/{created}")


def _read(kube: Kube, namespace: str, name: str) -> Object | None:
    """Read the pipeline; a moment without the API server is no reason to give up."""
    try:
        return kube.get("mlpipeline", name, namespace)
    except KubeError:
        return None


def _airflow_message(kube: Kube, pipeline: Object) -> str:
    """Return which of Airflow's parts are awaited: more than the pipeline's own message says."""
    metadata, status = pipeline["metadata"], pipeline["status"]
    try:
        airflow = kube.get("airflow", status.get("airflow", "default"), metadata["namespace"])
    except KubeError:
        return ""
    return str(((airflow or {}).get("status") or {}).get("message", ""))


def _state(pipeline: Object) -> tuple[str, str]:
    """State and message, for the generation that the operator has seen; before that, a state of our own."""
    status = pipeline.get("status") or {}
    if status.get("observedGeneration") != pipeline["metadata"]["generation"]:
        return "(not seen yet)", "waiting for the operator"
    state = status.get("state", "Pending")
    words = status.get("metric") if state == _SUCCEEDED else status.get("message")
    return state, words or ""
