"""A small work queue: each key is handled by one worker at a time, and again if it changed meanwhile.

kopf does not retry ``on.event`` handlers, so the retry with backoff lives here.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from mlpipeline_operator.errors import NotReadyError, TransientError

__all__ = ["WorkQueue"]

K = TypeVar("K", bound=Hashable)
_log = logging.getLogger(__name__)

_FIRST_DELAY = 0.2
_LONGEST_DELAY = 60.0


class WorkQueue(Generic[K]):
    """Runs ``handle(key)`` for each added key.

    A key that is added while it waits is handled once; one that is added while it is being handled is handled
    again afterwards. ``handle`` may return a number of seconds after which it wants to see the key again.
    ``TransientError`` and unforeseen exceptions are retried with exponential backoff and jitter; other
    ``OperatorError``s are for ``handle`` to deal with.

    Args:
        handle: What to do for a key.
        workers: How many keys are handled at the same time.
    """

    def __init__(self, handle: Callable[[K], Awaitable[float | None]], *, workers: int = 16) -> None:
        self._handle = handle
        self._workers = workers
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._waiting: set[K] = set()
        self._running: set[K] = set()
        self._again: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}

    def add(self, key: K) -> None:
        """Handle ``key`` as soon as a worker is free."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        if key in self._running:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Handle ``key`` after ``seconds``, or earlier if it is added before."""
        if key in self._waiting:
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= loop.time() + seconds:
                return
            timer.cancel()
        self._timers[key] = loop.call_later(seconds, self.add, key)

    def __len__(self) -> int:
        """How many keys wait or are being handled (delayed ones do not count)."""
        return len(self._waiting) + len(self._running)

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(self._work())
        finally:
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()

    async def _work(self) -> None:
        while True:
            key = await self._ready.get()
            self._waiting.discard(key)
            self._running.add(key)
            try:
                delay = await self._attempt(key)
            finally:
                self._running.discard(key)
            if key in self._again:
                self._again.discard(key)
                self.add(key)
            elif delay is not None:
                self.add_after(key, delay)

    async def _attempt(self, key: K) -> float | None:
        try:
            delay = await self._handle(key)
        except TransientError as error:
            backoff = self._backoff(key, error.retry_after)
            _log.info("%s: %s; trying again in %.1f s", key, error.message, backoff)
            return backoff
        except NotReadyError as error:
            backoff = self._backoff(key, None)
            _log.info("%s: waiting: %s", key, error.message)
            return backoff
        except Exception:
            backoff = self._backoff(key, None)
            _log.exception("%s: failed; trying again in %.1f s", key, backoff)
            return backoff
        self._failures.pop(key, None)
        return delay

    def _backoff(self, key: K, retry_after: float | None) -> float:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(_FIRST_DELAY * 2.0 ** min(failures, 20), _LONGEST_DELAY)
        return max(delay * random.uniform(0.8, 1.2), retry_after or 0.0)
