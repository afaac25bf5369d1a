"""The status of an ``Airflow``: which parts are up, and how to get in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from mlpipeline_operator import names
from mlpipeline_operator.errors import OperatorError
from mlpipeline_operator.status.conditions import Condition, is_true, merge_conditions
from mlpipeline_operator.values import AirflowValue, EmbeddedDatabase

__all__ = ["airflow_status", "invalid_airflow_status", "with_waiting_deletion"]

Body = Mapping[str, Any]

_MOST_SHOWN = 10


def airflow_status(
    value: AirflowValue,
    body: Body,
    workloads: Sequence[Body],
    pods: Sequence[Body],
    *,
    now: datetime,
    changed: bool = True,
) -> dict[str, Any]:
    """Compute the status of a managed Airflow from its Deployments and StatefulSets.

    Args:
        value: The validated resource.
        body: The resource as observed; its old status gives the transition times.
        workloads: The live Deployments and StatefulSets of this Airflow.
        pods: Its live pods, for the reason why a part is not up.
        now: The time to use for new transitions.
        changed: Whether the operator has just changed any of them.
    """
    found = {workload["metadata"]["name"]: workload for workload in workloads}
    stays_up = not changed and _was_up(body)
    components = [
        _component(label, found.get(name), wanted, stays_up=stays_up)
        for label, name, wanted in _expected(value)
    ]
    missing = [component["name"] for component in components if not component.pop("up")]
    name, namespace = value.owner.name, value.owner.namespace
    if missing:
        message = f"waiting for {', '.join(missing)}"
        cause = _pod_trouble(pods)
        if cause:
            message += f": {cause}"
        ready = Condition("Ready", "False", "ComponentsNotReady", message)
        reconciling = Condition("Reconciling", "True", "ComponentsNotReady", message)
    else:
        message = "all components are up"
        ready = Condition("Ready", "True", "ComponentsReady", message)
        reconciling = Condition("Reconciling", "False", "ComponentsReady")
    service = names.airflow_component(name, "api-server")
    return _status(
        body,
        [ready, reconciling],
        now,
        state="Pending" if missing else "Running",
        message=message,
        version=value.version,
        url=names.airflow_url(namespace, name),
        components=components,
        access={
            "command": f"kubectl -n {namespace} port-forward service/{service} {names.AIRFLOW_PORT}",
            "username": "admin",
            "passwordSecret": names.airflow_admin_secret(name),
        },
    )


def invalid_airflow_status(body: Body, error: OperatorError, *, now: datetime) -> dict[str, Any]:
    """Status of an Airflow whose spec cannot be reconciled; what ran before goes on and stays shown."""
    previous = dict(body.get("status") or {})
    for key in ("conditions", "observedGeneration", "state", "message"):
        previous.pop(key, None)
    conditions = [
        Condition("Ready", "False", error.reason, error.message),
        Condition("Stalled", "True", error.reason, error.message),
    ]
    return _status(body, conditions, now, state="Invalid", message=error.message, **previous)


def with_waiting_deletion(
    status: Mapping[str, Any], body: Body, users: Sequence[str], *, now: datetime
) -> dict[str, Any]:
    """Add to a status that the deletion waits for the pipelines ``users``."""
    shown = ", ".join(users[:_MOST_SHOWN]) + (
        f" and {len(users) - _MOST_SHOWN} more" if users[_MOST_SHOWN:] else ""
    )
    message = (
        f"the deletion waits for the pipelines that use this Airflow: {shown}; delete them, or let them use"
        " another"
    )
    previous = (body.get("status") or {}).get("conditions") or ()
    generation = body["metadata"].get("generation", 0)
    waits = [Condition("DeletionBlocked", "True", "InUse", message)]
    merged = merge_conditions(previous, waits, generation=generation, now=now)
    others = [each for each in status["conditions"] if each["type"] != "DeletionBlocked"]
    conditions = sorted(others + merged, key=lambda each: str(each["type"]))
    return {**status, "message": message, "conditions": conditions}


def _expected(value: AirflowValue) -> list[tuple[str, str, int]]:
    """Label, workload name and wanted replicas of every part, the database first."""
    name = value.owner.name
    parts = [
        (component, names.airflow_component(name, component), value.components[component].replicas)
        for component in names.COMPONENTS
    ]
    if isinstance(value.database, EmbeddedDatabase):
        parts.insert(0, ("postgresql", names.airflow_postgres(name), 1))
    return parts


def _was_up(body: Body) -> bool:
    """Whether all parts of this very spec were up when they were looked at last."""
    status = body.get("status") or {}
    return is_true(status, "Ready") and status.get("observedGeneration") == body["metadata"].get("generation")


def _component(label: str, workload: Body | None, wanted: int, *, stays_up: bool) -> dict[str, Any]:
    """A part is up when all its wanted replicas are ready and run the newest template.

    Somebody's annotation on a Deployment makes a new generation of it, too: what was up, and was not changed
    by the operator, stays up until the Deployment's controller has looked.
    """
    status = (workload or {}).get("status") or {}
    generation = (workload or {"metadata": {}})["metadata"].get("generation", 0)
    current = workload is not None and (stays_up or status.get("observedGeneration", 0) >= generation)
    ready = status.get("readyReplicas", 0)
    # An old pod that is ready beside a new one that is not yet must not count as the new one.
    updated = min(ready, status.get("updatedReplicas", 0))
    return {"name": label, "ready": f"{ready}/{wanted}", "up": current and updated >= wanted}


def _pod_trouble(pods: Sequence[Body]) -> str:
    """Why a pod of ours does not start, in the words of the kubelet or the scheduler; empty if none says."""
    for pod in sorted(pods, key=lambda each: str(each["metadata"]["name"])):
        status = pod.get("status") or {}
        name = pod["metadata"]["name"]
        for condition in status.get("conditions") or ():
            if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
                return f"pod {name}: {condition.get('message', 'Unschedulable')}"
        for container in (status.get("initContainerStatuses") or []) + (
            status.get("containerStatuses") or []
        ):
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
                detail = waiting.get("message") or ""
                return f"pod {name}: {waiting['reason']} in {container['name']} {detail}".strip()
    return ""


def _status(body: Body, conditions: list[Condition], now: datetime, **fields: Any) -> dict[str, Any]:
    generation = body["metadata"].get("generation", 0)
    previous = (body.get("status") or {}).get("conditions") or ()
    merged = merge_conditions(previous, conditions, generation=generation, now=now)
    return {"observedGeneration": generation, **fields, "conditions": merged}
