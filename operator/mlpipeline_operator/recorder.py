"""Posts Events, as well as it can: one that fails, or one too many, is dropped and holds up nobody."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mlpipeline_operator.build.event import event_manifest
from mlpipeline_operator.cluster import Cluster, Manifest
from mlpipeline_operator.errors import OperatorError, TransientError
from mlpipeline_operator.instruments import EVENTS_DROPPED
from mlpipeline_operator.status.events import SLOW_SECONDS, Event, transition_events
from mlpipeline_operator.store import Body, Store

__all__ = ["EventRecorder"]

_log = logging.getLogger(__name__)

# Events wait here while more happens than is told per second: a thousand pipelines that are applied at once
# are slowed down by their own writes alone. Normal ones leave the rest of the room to warnings.
_LONGEST_QUEUE = 2000
_LONGEST_NORMAL = 1500
_PER_SECOND = 25.0
_BURST = 25
_MOST_TIMERS = 1000
# How long a warning is not told again, and how many are remembered.
_SIMILAR_SECONDS = 600.0
_MOST_REMEMBERED = 2000
_PAUSE_SECONDS = 5.0


class EventRecorder:
    """A bounded queue of Events, and the task that posts them.

    Args:
        cluster: Where to post them; asks for the lease as every write does.
        store: Tells whether a resource is still in the state that a late Event is about.
        instance: Which replica this is.
    """

    def __init__(self, cluster: Cluster, store: Store, instance: str) -> None:
        self._cluster = cluster
        self._store = store
        self._instance = instance
        self._queue: deque[Manifest] = deque()
        self._timers: set[asyncio.TimerHandle] = set()
        self._told: dict[tuple[str, str, str], float] = {}
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        """How many Events wait to be posted."""
        return len(self._queue)

    def record(self, body: Body, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> None:
        """Take down what the change of a status from ``before`` to ``after`` is worth telling."""
        try:
            for event in transition_events(body["kind"], before, after):
                if event.while_state is None:
                    self._add(body, event)
                elif len(self._timers) < _MOST_TIMERS:
                    self._add_later(body, event)
        except Exception:
            # A reconcile must not fail for want of an Event.
            _log.exception("an event was not made")

    async def run(self) -> None:
        """Post until cancelled."""
        loop = asyncio.get_running_loop()
        room, counted_at = float(_BURST), loop.time()
        try:
            while True:
                while not self._queue:
                    self._wake.clear()
                    await self._wake.wait()
                room = min(room + (loop.time() - counted_at) * _PER_SECOND, float(_BURST))
                if room < 1.0:
                    await asyncio.sleep((1.0 - room) / _PER_SECOND)
                room, counted_at = max(room - 1.0, 0.0), loop.time()
                await self._post(self._queue.popleft())
        finally:
            for timer in self._timers:
                timer.cancel()
            self._timers.clear()

    async def _post(self, manifest: Manifest) -> None:
        try:
            await self._cluster.create(manifest)
        except TransientError as error:
            _log.info("an event was not posted: %s", error.message)
            EVENTS_DROPPED.inc()
            # The API server has enough to do: what happens meanwhile waits, or is dropped.
            await asyncio.sleep(max(error.retry_after or 0.0, _PAUSE_SECONDS))
        except OperatorError as error:
            _log.info("an event was refused: %s", error.message)
            EVENTS_DROPPED.inc()
        except Exception:
            _log.exception("an event was not posted")
            EVENTS_DROPPED.inc()

    def _add_later(self, body: Body, event: Event) -> None:
        metadata = body["metadata"]

        def look() -> None:
            self._timers.discard(timer)
            live = self._store.get(body["kind"], metadata["namespace"], metadata["name"])
            if live is None or live["metadata"]["uid"] != metadata["uid"]:
                return
            if (live.get("status") or {}).get("state") == event.while_state:
                self._add(body, event)

        timer = asyncio.get_running_loop().call_later(SLOW_SECONDS, look)
        self._timers.add(timer)

    def _add(self, body: Body, event: Event) -> None:
        normal = event.type == "Normal"
        if not normal and self._was_told(body["metadata"]["uid"], event):
            return
        if len(self._queue) >= (_LONGEST_NORMAL if normal else _LONGEST_QUEUE):
            EVENTS_DROPPED.inc()
            return
        manifest = event_manifest(body, event, self._instance, datetime.now(UTC))
        self._queue.append(manifest)
        self._wake.set()

    def _was_told(self, uid: str, event: Event) -> bool:
        key = uid, event.reason, event.similar or event.note
        now = asyncio.get_running_loop().time()
        told = self._told.get(key)
        if told is not None and now - told < _SIMILAR_SECONDS:
            return True
        self._told.pop(key, None)
        self._told[key] = now
        if len(self._told) > _MOST_REMEMBERED:
            # In the order in which they were told: the oldest goes.
            del self._told[next(iter(self._told))]
        return False
