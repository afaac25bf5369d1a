"""What a step's pods tell: its state, its result, the true cause of a failure.

The result travels in the termination message of the container ``base`` (JSON, at most 4,096 bytes, written by
``mlpipeline_trainer`` or by the step itself); the watch that the operator has anyway brings it, so no call is
needed to read it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from mlpipeline_operator import names
from mlpipeline_operator.status.result import clean_result

__all__ = ["ENDED", "EVICTED", "PENDING", "PodView", "newest_pods", "parse_result", "view_pod"]

Body = Mapping[str, Any]

# States of a pod whose container has not begun.
PENDING: Final = frozenset({"Queued", "PullingImage"})
ENDED: Final = frozenset({"Succeeded", "Failed"})
# The message of a pod that had to make way begins so: it is soon gone, and its run remembers why.
EVICTED: Final = "evicted: "

_CONTAINER: Final = "base"
_LONGEST_MESSAGE: Final = 500


@dataclass(frozen=True, slots=True)
class PodView:
    """One attempt of one step.

    Attributes:
        name: The pod's name.
        task_id: Airflow's task, which is the step's name.
        attempt: Airflow's try number, from 1.
        state: ``Queued``, ``PullingImage``, ``Running``, ``Succeeded`` or ``Failed``.
        message: The scheduler's or kubelet's words, while the pod does not run.
        reason: Why the container ended badly (``OOMKilled``, ``Evicted``, ``Error``...).
        exit_code: The container's, once it ended.
        started_at: RFC 3339, once the container runs.
        finished_at: RFC 3339, once it ended.
        created_at: RFC 3339.
        result: The trainer's result, or a step's; empty where it left none.
        launcher: Whether it only starts a step's pod and watches it.
        launching: Whether it is a launcher that runs, and whose step has no pod yet.
    """

    name: str
    task_id: str
    attempt: int
    state: str
    message: str = ""
    reason: str = ""
    exit_code: int | None = None
    started_at: str | None = None
    finished_at: str | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    created_at: str | None = None
    launcher: bool = False
    launching: bool = False


def view_pod(pod: Body) -> PodView:
    """Read one step pod."""
    annotations = pod["metadata"].get("annotations") or {}
    status = pod.get("status") or {}
    statuses = {each["name"]: each for each in status.get("containerStatuses") or ()}
    container = (statuses.get(_CONTAINER) or {}).get("state") or {}
    terminated, running, waiting = (container.get(key) or {} for key in ("terminated", "running", "waiting"))
    attempt = annotations.get("try_number", "1")
    identity = {
        "name": pod["metadata"]["name"],
        "task_id": annotations.get("task_id", ""),
        "attempt": int(attempt) if str(attempt).isdigit() else 1,
        "created_at": pod["metadata"].get("creationTimestamp"),
        "launcher": (pod["metadata"].get("labels") or {}).get(names.ROLE_LABEL) == names.LAUNCHER_ROLE,
    }
    phase = status.get("phase")
    evicted = _evicted(status)
    if terminated or phase in ("Succeeded", "Failed"):
        succeeded = terminated.get("exitCode", 1) == 0 if terminated else phase == "Succeeded"
        result = parse_result(terminated.get("message"))
        # Airflow's worker ends with 0 also when its task failed.
        failed = not succeeded or "failure" in result
        # The pod's own reason (Evicted, Preempted...) says more than the container's.
        reason = status.get("reason") or (failed and evicted and "Evicted") or terminated.get("reason") or ""
        return PodView(
            **identity,
            state="Failed" if failed else "Succeeded",
            reason="" if reason == "Completed" else reason,
            message=status.get("message") or ((evicted or _last_line(terminated, result)) if failed else ""),
            exit_code=terminated.get("exitCode"),
            started_at=terminated.get("startedAt"),
            finished_at=terminated.get("finishedAt"),
            result=result,
        )
    if running:
        return PodView(**identity, state="Running", started_at=running.get("startedAt"), message=evicted)
    return _pending(identity, status, waiting)


def _evicted(status: Body) -> str:
    """Why the pod must make way (a drained node, a pod of higher priority); empty where it need not."""
    for condition in status.get("conditions") or ():
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            return EVICTED + (condition.get("message") or condition.get("reason") or "its node is needed")
    return ""


def _pending(identity: Mapping[str, Any], status: Body, waiting: Body) -> PodView:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") != "True":
            return PodView(
                **identity,
                state="Queued",
                reason=condition.get("reason") or "",
                message=condition.get("message") or "",
            )
    scheduled = bool(status.get("conditions"))
    reason = waiting.get("reason") or ""
    message = ""
    if reason and reason not in ("ContainerCreating", "PodInitializing"):
        message = f"{reason}: {waiting.get('message') or ''}".rstrip(": ")
    return PodView(
        **identity, state="PullingImage" if scheduled else "Queued", reason=reason, message=message
    )


def _last_line(terminated: Body, result: Body) -> str:
    """The last words of a container that failed and left no result: those of its message, or of its log."""
    text = "" if result else str(terminated.get("message") or "")
    return text.strip().rpartition("\n")[2].strip()[-_LONGEST_MESSAGE:]


def parse_result(message: str | None) -> Mapping[str, Any]:
    """Parse a termination message as a result; most others are none."""
    if not message:
        return {}
    try:
        result = json.loads(message)
    except ValueError:
        return {}
    return clean_result(result)


def newest_pods(pods: Iterable[Body], dag_id: str, dag_run_id: str) -> dict[str, PodView]:
    """Return the latest attempt of each task of one run, by task id."""
    launchers: dict[str, PodView] = {}
    steps: dict[str, PodView] = {}
    for pod in pods:
        annotations = pod["metadata"].get("annotations") or {}
        if annotations.get("dag_id") != dag_id or annotations.get("run_id") != dag_run_id:
            continue
        view = view_pod(pod)
        newest = launchers if view.launcher else steps
        known = newest.get(view.task_id)
        if known is None or view.attempt > known.attempt:
            newest[view.task_id] = view
    for task_id, launcher in launchers.items():
        steps[task_id] = _launched(launcher, steps.get(task_id))
    return steps


def _launched(launcher: PodView, step: PodView | None) -> PodView:
    """What a launcher and the step's pod tell together: the step's own words, where it has any.

    A launcher of a later attempt may have taken over the pod of an earlier one.
    """
    if step is not None and (
        step.attempt >= launcher.attempt or step.state not in ENDED or launcher.state == "Succeeded"
    ):
        return replace(step, attempt=max(step.attempt, launcher.attempt))
    if launcher.state == "Running":
        message = "its pod is about to be made"
        return replace(launcher, state="Queued", started_at=None, message=message, launching=True)
    return launcher
