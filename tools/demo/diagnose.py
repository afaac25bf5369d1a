"""What is wrong, when the demo does not get to its end: what one would ask first, printed in one go."""

from __future__ import annotations

from collections.abc import Iterator

from tools.demo.install import NAMESPACE
from tools.demo.kube import Kube, KubeError, Object

__all__ = ["diagnosis"]

_LOG_LINES = 25
_EVENTS = 15


def diagnosis(kube: Kube, namespace: str) -> Iterator[str]:
    """Yield lines: the resources, pods that are not ready and why, warnings, the ends of the logs."""
    yield from _section("Resources", _resources(kube, namespace))
    for where in (NAMESPACE, namespace):
        yield from _section(f"Pods of {where} that are not ready", _pods(kube, where))
    yield from _section(f"Newest warnings in {namespace}", _warnings(kube, namespace))
    yield from _section(
        "End of the operator's log", _log(kube, NAMESPACE, "deployment/mlpipeline-operator", "operator")
    )
    for run in _try(kube, "mlpipelineruns", namespace):
        failure = (run.get("status") or {}).get("failure") or {}
        if not failure:
            continue
        yield from _section(f"Why {run['metadata']['name']} failed", [f"{failure.get('message')}"])
        for step in run["status"].get("steps", []):
            if step.get("state") == "Failed" and step.get("pod"):
                yield from _section(
                    f"End of the log of {step['pod']}", _log(kube, namespace, step["pod"], "base")
                )


def _section(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield f"--- {title}"
        yield from (f"  {line[:300]}" for text in lines for line in text.splitlines() if line.strip())


def _resources(kube: Kube, namespace: str) -> list[str]:
    try:
        kinds = "mlpipelines,mlpipelineruns,airflows"
        return kube.run("get", kinds, f"--namespace={namespace}", "--output=wide").splitlines()
    except KubeError as error:
        return str(error).splitlines()


def _try(kube: Kube, kind: str, namespace: str) -> list[Object]:
    try:
        return kube.list(kind, namespace)
    except KubeError:
        return []


def _pods(kube: Kube, namespace: str) -> list[str]:
    return [
        f"{pod['metadata']['name']}: {pod['status'].get('phase')} {why}".rstrip()
        for pod in _try(kube, "pods", namespace)
        if pod["status"].get("phase") != "Succeeded" and (why := _trouble(pod)) is not None
    ]


def _trouble(pod: Object) -> str | None:
    """Why a pod is not ready, in the scheduler's or the kubelet's words; ``None`` if it is."""
    status = pod["status"]
    conditions = {each["type"]: each for each in status.get("conditions", [])}
    if conditions.get("Ready", {}).get("status") == "True":
        return None
    for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        for state in (container["state"].get("waiting"), container["state"].get("terminated")):
            if state and state.get("reason") not in {"Completed", "PodInitializing"}:
                return f"{container['name']}: {state.get('reason')} {state.get('message', '')}"
    return str(conditions.get("PodScheduled", {}).get("message", ""))


def _warnings(kube: Kube, namespace: str) -> list[str]:
    events = [event for event in _try(kube, "events", namespace) if event.get("type") == "Warning"]
    events.sort(key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    return [
        f"{event['involvedObject']['kind']}/{event['involvedObject']['name']}: "
        f"{event.get('reason')} {event.get('message', '')}"
        for event in events[-_EVENTS:]
    ]


def _log(kube: Kube, namespace: str, target: str, container: str) -> list[str]:
    where = [f"--namespace={namespace}", f"--container={container}", f"--tail={_LOG_LINES}"]
    try:
        return kube.run("logs", target, *where).splitlines()
    except KubeError as error:
        return [str(error)]
