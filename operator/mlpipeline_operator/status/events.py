"""What a change of a resource's status is worth telling as an Event: pure, from the status before and after.

One Event per transition: a poll or a retried reconcile that finds what was there already tells nothing, and
neither does a restart, since the status before is the one that the API server keeps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from mlpipeline_operator.kinds import AIRFLOW, PIPELINE, RUN
from mlpipeline_operator.status.conditions import is_true

__all__ = ["SLOW_SECONDS", "Event", "transition_events"]

Body = Mapping[str, Any]

# What most runs pass through within a few seconds is told only where it takes longer than this.
SLOW_SECONDS: Final = 10.0
_FINISHED: Final = frozenset({"Succeeded", "Failed", "Superseded", "Cancelled", "Skipped"})


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a resource's story.

    Attributes:
        reason: The transition, in one CamelCase word.
        note: The same in words; no secrets, as in the status that it comes from.
        type: ``Warning`` for what somebody should look at.
        while_state: Tell it only if ``status.state`` is still this one ``SLOW_SECONDS`` later.
        similar: Another warning with the same reason and this text says nothing new for a while; the note, if
            empty.
    """

    reason: str
    note: str
    type: Literal["Normal", "Warning"] = "Normal"
    while_state: str | None = None
    similar: str = ""


def transition_events(kind: str, before: Body | None, after: Body) -> list[Event]:
    """The Events for a status that becomes another one.

    Args:
        kind: The resource's kind.
        before: Its status so far, ``None`` for one that had none.
        after: The status that was written.
    """
    tell = {RUN: _run_events, PIPELINE: _pipeline_events, AIRFLOW: _airflow_events}
    return list(tell[kind](before or {}, after))


def _run_events(before: Body, after: Body) -> Iterator[Event]:
    if after.get("dagRunId") and not before.get("dagRunId"):
        yield Event("Started", f"in Airflow as {after['dagRunId']}")
    yield from _waiting_events(before, after)
    was, state, message = before.get("state"), after.get("state"), after.get("message") or ""
    if state == was:
        return
    if was == "Suspended" and state not in _FINISHED:
        yield Event("Resumed", message or "the run goes on")
    if state == "Running":
        attempt = after.get("attempt") or 1
        yield Event("Running", message + (f", attempt {attempt}" if attempt > 1 else ""))
    elif state == "Succeeded":
        model = (after.get("model") or {}).get("uri")
        parts = [message, after.get("metric"), f"model {model}" if model else None]
        yield Event("Succeeded", "; ".join(part for part in parts if part))
    elif state == "Failed":
        yield Event("Failed", _cause(after), "Warning")
    elif state in ("Superseded", "Suspended", "Cancelled", "Skipped"):
        yield Event(state, message or f"the run is {state.lower()}")


def _waiting_events(before: Body, after: Body) -> Iterator[Event]:
    """A wait that takes long, and what the scheduler or the kubelet says of it."""
    was, state = before.get("state"), after.get("state")
    trouble = _waiting_words(after)
    is_new = bool(trouble) and not (was == state and _waiting_words(before))
    if state == "PullingImage" and is_new:
        yield Event("PullingImage", trouble, "Warning", similar=state)
    elif state == "PullingImage" and not trouble and was != state:
        yield Event("PullingImage", after.get("message") or "", while_state=state)
    elif state == "Queued" and is_new:
        # A node may be on its way.
        yield Event("Queued", trouble, "Warning", while_state=state, similar=state)


def _pipeline_events(before: Body, after: Body) -> Iterator[Event]:
    yield from _ready_event(before, after)
    run, known = after.get("lastRun") or {}, before.get("lastRun") or {}
    # The last run may also be an earlier one again, when the last was deleted.
    if run and run.get("name") != known.get("name") and run.get("state") not in _FINISHED:
        yield Event("RunStarted", f"run {run['name']}: kubectl describe mlpr {run['name']}")
    stalled, message = is_true(after, "Stalled"), after.get("message") or ""
    if stalled and not (is_true(before, "Stalled") and before.get("message") == message):
        yield Event("Invalid", message, "Warning")
    was, is_suspended = _is_suspended(before), _is_suspended(after)
    if is_suspended and not was:
        yield Event("Suspended", message or "no run starts")
    elif was and not is_suspended and before.get("observedGeneration") != after.get("observedGeneration"):
        yield Event("Resumed", "runs start again")


def _is_suspended(pipeline: Body) -> bool:
    """Whether the pipeline itself is, and not just its last run."""
    return pipeline.get("state") == "Suspended" != (pipeline.get("lastRun") or {}).get("state")


def _airflow_events(before: Body, after: Body) -> Iterator[Event]:
    yield from _ready_event(before, after)
    if is_true(after, "DeletionBlocked") and not is_true(before, "DeletionBlocked"):
        yield Event("DeletionBlocked", _condition(after, "DeletionBlocked").get("message") or "", "Warning")
    ready = _condition(after, "Ready")
    if ready.get("status") == "True" or not ready:
        return
    was = _condition(before, "Ready")
    message = ready.get("message") or ""
    if was.get("status") == "True":
        # A change of the spec rolls pods; anything else that takes a part away is worth a look.
        is_update = before.get("observedGeneration") != after.get("observedGeneration")
        yield Event(ready["reason"], message, "Normal" if is_update else "Warning", similar=ready["reason"])
    elif ready["reason"] == "Connecting":
        return
    elif ready["reason"] != "ComponentsNotReady":
        if (ready["reason"], message) != (was.get("reason"), was.get("message")):
            yield Event(ready["reason"], message, "Warning")
    else:
        cause, known = _pod_trouble(message), _pod_trouble(was.get("message") or "")
        if cause and cause != known:
            yield Event(ready["reason"], message, "Warning", similar=cause)


def _ready_event(before: Body, after: Body) -> Iterator[Event]:
    if is_true(after, "Ready") and not is_true(before, "Ready"):
        yield Event("Ready", _condition(after, "Ready").get("message") or "")


def _condition(status: Body, kind: str) -> Body:
    return next((each for each in status.get("conditions") or () if each["type"] == kind), {})


def _waiting_words(status: Body) -> str:
    """The scheduler's or kubelet's words on the step that the run waits for; empty where there are none."""
    for step in status.get("steps") or ():
        if step.get("state") == status.get("state") and step.get("message"):
            return f"step {step['name']}: {step['message']}"
    return ""


def _cause(status: Body) -> str:
    failure = status.get("failure") or {}
    step = f"step {failure['step']}: " if failure.get("step") else ""
    logs = f" (log: {failure['logs']})" if failure.get("logs") else ""
    words = failure.get("message") or status.get("message") or "the run failed"
    return f"{step}{failure.get('reason') or 'Error'}: {words}{logs}"


def _pod_trouble(message: str) -> str:
    """Why a pod does not start, without what changes from one try of the kubelet's to the next."""
    cause = message.partition(": ")[2]
    return re.sub(r"\d+", "#", cause)
