"""The order, coalescing and retries of the work queue, on a clock that needs no waiting."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpipeline_operator import workqueue
from mlpipeline_operator.errors import NotReadyError, TransientError
from mlpipeline_operator.workqueue import WorkQueue
from tests.unit.operator.engine import clock

Handle = Callable[[str], Awaitable[float | None]]


@pytest.fixture(autouse=True)
def _no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workqueue.random, "uniform", lambda low, high: 1.0)


class Handler:
    """Notes each call as (time since the start, key), and how many ran at once; answers in turn."""

    def __init__(self, *answers: float | Exception | None, takes: float = 0.0) -> None:
        self.calls: list[tuple[float, str]] = []
        self.most: Counter[str] = Counter()
        self.most_of_all = 0
        self._running: Counter[str] = Counter()
        self._answers = list(answers)
        self._takes = takes
        self._start: float | None = None

    async def __call__(self, key: str) -> float | None:
        now = asyncio.get_running_loop().time()
        self._start = now if self._start is None else self._start
        self.calls.append((round(now - self._start, 3), key))
        self._running[key] += 1
        self.most[key] = max(self.most[key], self._running[key])
        self.most_of_all = max(self.most_of_all, self._running.total())
        await asyncio.sleep(self._takes)
        self._running[key] -= 1
        answer = self._answers.pop(0) if self._answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def keys(self) -> list[str]:
        return [key for _, key in self.calls]

    @property
    def times(self) -> list[float]:
        return [moment for moment, _ in self.calls]


def work(handler: Handle, act: Callable[[WorkQueue[str]], Awaitable[None]], *, workers: int = 2) -> None:
    """Run a queue for as long as ``act`` takes, and an hour more."""

    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue(handler, workers=workers)
        running = asyncio.create_task(queue.run())
        await act(queue)
        await asyncio.sleep(3600)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    clock.run(main())


def test_keys_are_handled_in_the_order_in_which_they_were_added() -> None:
    handler = Handler()

    async def act(queue: WorkQueue[str]) -> None:
        for key in "dbca":
            queue.add(key)

    work(handler, act, workers=1)
    assert handler.keys == list("dbca")


def test_a_key_that_is_added_often_while_it_waits_is_handled_once() -> None:
    handler = Handler()

    async def act(queue: WorkQueue[str]) -> None:
        for _ in range(50):
            queue.add("often")

    work(handler, act)
    assert handler.keys == ["often"]


def test_a_key_that_is_added_while_it_is_handled_is_handled_once_more_afterwards() -> None:
    handler = Handler(takes=1.0)

    async def act(queue: WorkQueue[str]) -> None:
        queue.add("key")
        for _ in range(5):
            await asyncio.sleep(0.1)
            queue.add("key")

    work(handler, act)
    assert handler.calls == [(0.0, "key"), (1.0, "key")]


def test_other_keys_go_on_while_one_is_slow() -> None:
    handler = Handler(takes=10.0)

    async def act(queue: WorkQueue[str]) -> None:
        queue.add("slow")
        await asyncio.sleep(1)
        queue.add("other")

    work(handler, act)
    assert handler.calls == [(0.0, "slow"), (1.0, "other")]


def test_no_more_keys_are_handled_at_once_than_there_are_workers() -> None:
    handler = Handler(takes=1.0)

    async def act(queue: WorkQueue[str]) -> None:
        for number in range(20):
            queue.add(f"key-{number}")

    work(handler, act, workers=3)
    assert handler.most_of_all == 3
    assert len(handler.calls) == 20


def test_a_transient_error_is_tried_again_with_growing_delays() -> None:
    handler = Handler(*[TransientError("busy")] * 4)

    async def act(queue: WorkQueue[str]) -> None:
        queue.add("key")

    work(handler, act)
    assert handler.times == [0.0, 0.2, 0.6, 1.4, 3.0]


def test_the_delay_between_two_tries_has_a_limit() -> None:
    handler = Handler(*[TransientError("down")] * 20)

    async def act(queue: WorkQueue[str]) -> None:
        queue.add("key")

    work(handler, act)
    delays = [
        round(later - earlier, 3) for earlier, later in zip(handler.times, handler.times[1:], strict=False)
    ]
    assert max(delays) == 60.0
    assert delays == sorted(delays)


def test_success_starts_the_backoff_anew() -> None:
    handler = Handler(TransientError("busy"), TransientError("busy"), None, TransientError("busy"))

    async def act(queue: WorkQueue[str]) -> None:
        queue.add("key")
        await asyncio.sleep(100)
        queue.add("key")

    work(handler, act)
    assert handler.times == [0.0, 0.2, 0.6, 100.0, 100.2]


def test_the_server_is_not_asked_before_the_time_that_it_said() -> None:
    handler = Handler(TransientError("slow down", retry_after=30.0))

    async def act(queue: WorkQueue[str]) -> None:
        queue.add("key")

    work(handler, act)
    assert handler.times == [0.0, 30.0]


@pytest.mark.parametrize("error", [ValueError("a bug"), NotReadyError("not yet")])
def test_no_error_ends_a_worker_or_is_forgotten(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    handler = Handler(error)

    async def act(queue: WorkQueue[str]) -> None:
        queue.add("key")
        await asyncio.sleep(10)
        queue.add("another")

    with caplog.at_level("INFO"):
        work(handler, act, workers=1)
    assert handler.calls == [(0.0, "key"), (0.2, "key"), (10.0, "another")]
    assert str(error) in caplog.text


def test_an_event_does_not_wait_for_the_backoff() -> None:
    handler = Handler(*[TransientError("down")] * 3)

    async def act(queue: WorkQueue[str]) -> None:
        queue.add("key")
        await asyncio.sleep(0.1)
        queue.add("key")

    work(handler, act)
    assert handler.times == [0.0, 0.1, 0.5, 1.3]


def test_a_handler_is_called_again_after_the_time_that_it_asked_for() -> None:
    handler = Handler(60.0)

    async def act(queue: WorkQueue[str]) -> None:
        queue.add("key")

    work(handler, act)
    assert handler.times == [0.0, 60.0]


def test_adding_after_a_time_keeps_the_earlier_of_two_times() -> None:
    handler = Handler()

    async def act(queue: WorkQueue[str]) -> None:
        queue.add("first")
        queue.add_after("key", 5)
        queue.add_after("key", 2)
        queue.add_after("key", 9)

    work(handler, act)
    assert handler.calls == [(0.0, "first"), (2.0, "key")]


def test_adding_now_replaces_adding_later() -> None:
    handler = Handler()

    async def act(queue: WorkQueue[str]) -> None:
        queue.add_after("key", 5)
        queue.add("key")
        await asyncio.sleep(1)

    work(handler, act)
    assert handler.times == [0.0]


def test_many_changes_within_a_window_are_handled_once() -> None:
    handler = Handler()

    async def act(queue: WorkQueue[str]) -> None:
        queue.add("first")
        for _ in range(10):
            queue.add_after("bundle", 0.2)
            await asyncio.sleep(0.01)

    work(handler, act)
    assert handler.calls == [(0.0, "first"), (0.2, "bundle")]


def test_nothing_is_handled_after_the_queue_was_cancelled() -> None:
    handler = Handler(TransientError("busy"))

    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue(handler)
        running = asyncio.create_task(queue.run())
        queue.add("key")
        queue.add_after("later", 5)
        await asyncio.sleep(0.1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await asyncio.sleep(3600)

    clock.run(main())
    assert handler.keys == ["key"]


def test_cancelling_interrupts_a_handler_that_is_running() -> None:
    handler = Handler(takes=1000.0)

    async def main() -> float:
        queue: WorkQueue[str] = WorkQueue(handler)
        running = asyncio.create_task(queue.run())
        queue.add("key")
        await asyncio.sleep(1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return asyncio.get_running_loop().time() - 1000.0

    assert clock.run(main()) == 1.0


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.floats(0, 3), st.sampled_from(["add", "add_after"])), max_size=40
    )
)
def test_however_keys_arrive_each_has_one_worker_and_is_seen_after_its_last_change(
    arrivals: list[tuple[str, float, str]],
) -> None:
    handler = Handler(takes=0.7)
    added: dict[str, float] = {}

    async def act(queue: WorkQueue[str]) -> None:
        loop = asyncio.get_running_loop()
        queue.add("a")
        added["a"] = 0.0
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        start = loop.time()
        for key, pause, how in arrivals:
            await asyncio.sleep(pause)
            added[key] = loop.time() - start
            if how == "add":
                queue.add(key)
            else:
                queue.add_after(key, 0.5)

    work(handler, act)
    assert all(most == 1 for most in handler.most.values())
    for key, last in added.items():
        assert max(moment for moment, each in handler.calls if each == key) >= round(last, 3) - 0.002
