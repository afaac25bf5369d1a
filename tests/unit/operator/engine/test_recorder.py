"""Events are posted one after the other, as well as it goes, and never at the cost of anything else."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from mlpipeline_operator import recorder
from mlpipeline_operator.errors import SpecError, TransientError
from mlpipeline_operator.recorder import EventRecorder
from mlpipeline_operator.store import Store
from tests.unit.operator.engine import clock
from tests.unit.operator.status import objects

Body = dict[str, Any]


class Posted:
    """What stands in for the API server: keeps each Event with the time since the start, or refuses it."""

    def __init__(self, *answers: Exception) -> None:
        self.events: list[tuple[float, Body]] = []
        self.tried = 0
        self._answers = list(answers)

    async def create(self, manifest: Body) -> Body:
        self.tried += 1
        if self._answers:
            raise self._answers.pop(0)
        self.events.append((asyncio.get_running_loop().time(), manifest))
        return manifest

    @property
    def reasons(self) -> list[str]:
        return [event["reason"] for _, event in self.events]


def tell(posted: Posted, act: Callable[[EventRecorder, Store], Awaitable[None]]) -> None:
    async def main() -> None:
        store = Store()
        events = EventRecorder(posted, store, "operator-1")  # type: ignore[arg-type]
        task = asyncio.create_task(events.run())
        await act(events, store)
        await asyncio.sleep(600)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    clock.run(main())


def run(number: int, state: str, **status: Any) -> Body:
    body = objects.run({"state": state, **status})
    metadata = {
        **body["metadata"],
        "name": f"digits-{number}",
        "uid": f"uid-{number}",
        "resourceVersion": "1",
    }
    return {**body, "metadata": metadata}


def becomes(events: EventRecorder, body: Body) -> None:
    events.record(body, None, body["status"])


def test_a_thousand_transitions_at_once_are_told_little_by_little() -> None:
    posted = Posted()

    async def act(events: EventRecorder, store: Store) -> None:
        for number in range(1000):
            becomes(events, run(number, "Running"))

    tell(posted, act)
    assert len(posted.events) == 1000
    first = posted.events[0][0]
    times = [moment - first for moment, _ in posted.events]
    for start in range(0, 30, 5):
        assert sum(start <= moment < start + 5 for moment in times) <= 5 * 25 + 25 + 1


def test_what_is_too_much_is_dropped_the_warnings_last() -> None:
    posted = Posted()

    async def act(events: EventRecorder, store: Store) -> None:
        for number in range(1900):
            becomes(events, run(number, "Running"))
        for number in range(600):
            becomes(events, run(number, "Failed", failure={"reason": "NaN", "message": "loss"}))
        assert len(events) == 2000

    tell(posted, act)
    assert posted.reasons.count("Running") == 1500
    assert posted.reasons.count("Failed") == 500


@pytest.mark.parametrize("error", [SpecError("no"), TransientError("busy", retry_after=30), ValueError("?")])
def test_an_event_that_fails_is_not_tried_again_and_others_follow(error: Exception) -> None:
    posted = Posted(error)

    async def act(events: EventRecorder, store: Store) -> None:
        becomes(events, run(1, "Running"))
        becomes(events, run(2, "Running"))

    tell(posted, act)
    assert posted.tried == 2
    assert [event["regarding"]["name"] for _, event in posted.events] == ["digits-2"]


def test_a_bug_in_what_is_told_does_not_reach_the_reconcile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "transition_events", lambda *_: 1 / 0)

    async def act(events: EventRecorder, store: Store) -> None:
        becomes(events, run(1, "Running"))

    tell(Posted(), act)


def pulling(number: int = 1) -> Body:
    return run(number, "PullingImage", message="step train: PullingImage")


def test_what_passes_quickly_is_not_told() -> None:
    posted = Posted()

    async def act(events: EventRecorder, store: Store) -> None:
        store.put(pulling())
        becomes(events, pulling())
        await asyncio.sleep(9)
        running = run(1, "Running")
        store.put({**running, "metadata": {**running["metadata"], "resourceVersion": "2"}})

    tell(posted, act)
    assert posted.reasons == []


def test_what_takes_long_is_told_after_a_while() -> None:
    posted = Posted()

    async def act(events: EventRecorder, store: Store) -> None:
        store.put(pulling())
        becomes(events, pulling())

    tell(posted, act)
    assert posted.reasons == ["PullingImage"]


@pytest.mark.parametrize("successor", [None, "uid-2"], ids=["deleted", "replaced by a namesake"])
def test_nothing_is_told_late_of_what_is_gone(successor: str | None) -> None:
    posted = Posted()

    async def act(events: EventRecorder, store: Store) -> None:
        becomes(events, pulling())
        if successor:
            body = pulling()
            store.put({**body, "metadata": {**body["metadata"], "uid": successor}})

    tell(posted, act)
    assert posted.reasons == []


def test_the_same_warning_is_not_told_again_for_a_while() -> None:
    posted = Posted()
    message = "waiting for scheduler: pod x: CrashLoopBackOff in base back-off {}0s"

    def airflow(status: str, text: str) -> Body:
        condition = {"type": "Ready", "status": status, "reason": "ComponentsNotReady", "message": text}
        return {"conditions": [condition], "observedGeneration": 1}

    async def act(events: EventRecorder, store: Store) -> None:
        starting = airflow("False", "waiting for scheduler")
        for attempt in range(1, 8):
            events.record(objects.airflow(), starting, airflow("False", message.format(attempt)))
            await asyncio.sleep(50)
        await asyncio.sleep(600)
        events.record(objects.airflow(), starting, airflow("False", message.format(30)))

    tell(posted, act)
    assert [event["note"] for _, event in posted.events] == [message.format(1), message.format(30)]


def test_the_replica_that_tells_is_named() -> None:
    posted = Posted()

    async def act(events: EventRecorder, store: Store) -> None:
        becomes(events, run(1, "Running"))

    tell(posted, act)
    ((_, event),) = posted.events
    found = SimpleNamespace(**event)
    assert (found.reportingController, found.reportingInstance) == ("mlpipelines.dev/operator", "operator-1")
