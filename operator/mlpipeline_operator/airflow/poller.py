"""Keeps an AirflowView up to date: one asyncio task per Airflow, quick while something is awaited."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from mlpipeline_operator.airflow.client import AirflowClient
from mlpipeline_operator.airflow.models import Dag, DagRun, ImportFailure, RunKey
from mlpipeline_operator.airflow.transport import UNAUTHORIZED
from mlpipeline_operator.airflow.view import AirflowView, Awaited, AwaitedDag, Change, DagView, RunView
from mlpipeline_operator.errors import OperatorError, TransientError
from mlpipeline_operator.names import DAG_TAG, dag_hash_tag

__all__ = ["AirflowPoller"]

_log = logging.getLogger(__name__)

_BACKOFF_LIMIT: Final = 10.0
# So many polls must fail one after the other before the view calls Airflow unreachable: one lost answer
# should not rewrite the status of every pipeline twice.
_FAILURES_TO_TELL: Final = 3
# After so many quick polls that brought nothing for the same DAGs (a broken file, say), the interval grows.
_PATIENCE: Final = 60
# A run's ``updated_at`` is older than the commit that lets us see it, by as much as a scheduler's loop takes.
_OVERLAP: Final = timedelta(seconds=10)
# For so long a run that is being deleted is not shown again.
_DELETED_SECONDS: Final = 120.0
_NEVER: Final = datetime.min.replace(tzinfo=UTC)


class AirflowPoller:
    """Polls one Airflow into ``view``, and tells what changed.

    A poll is one request for the runs that changed; while DAGs are awaited two more (per 100 of them); while
    runs have finished one more per 50 of these. At the idle interval the components' health and the import
    errors are read too, and at the resync interval all DAGs and all awaited runs.

    Args:
        client: The connection to Airflow; the poller does not close it.
        awaiting: Says what is awaited; called at each poll.
        on_change: Called after a poll that changed the view, in the event loop; must not block.
        active_interval: Seconds between polls while something is awaited.
        idle_interval: Seconds between polls while nothing is.
        resync_interval: Seconds between full readings, which also find what was deleted in Airflow.
        since: Runs that changed from here on are seen though nobody awaits them; 10 minutes ago if None.
        dag_id_prefix: Only DAGs whose id begins so are looked at: for an Airflow shared with others.
        bundle: The bundle that our DAGs lie in; import errors of others are not asked for.
        max_runs: How many runs are kept, from one poll to the next, that nobody awaits; the oldest go.
    """

    def __init__(
        self,
        client: AirflowClient,
        awaiting: Callable[[], Awaited],
        on_change: Callable[[Change], None],
        *,
        active_interval: float = 1.0,
        idle_interval: float = 30.0,
        resync_interval: float = 300.0,
        since: datetime | None = None,
        dag_id_prefix: str = "",
        bundle: str | None = None,
        max_runs: int = 2000,
    ) -> None:
        self.client = client
        self.view = AirflowView()
        self.polls = 0
        self._awaiting = awaiting
        self._on_change = on_change
        self._active_interval = active_interval
        self._idle_interval = idle_interval
        self._resync_interval = resync_interval
        self._since = since or datetime.now(UTC) - timedelta(minutes=10)
        self._prefix = dag_id_prefix
        self._bundle = bundle
        self._max_runs = max_runs
        self._wake = asyncio.Event()
        self._triggered: set[RunKey] = set()
        self._deleted: dict[RunKey, float] = {}
        self._outdated: dict[RunKey, datetime | None] = {}
        self._dags: dict[str, Dag] = {}
        self._errors: list[ImportFailure] = []
        self._missing: dict[str, AwaitedDag] = {}
        self._quiet = 0
        self._failures = 0
        self._slow_due = self._resync_due = 0.0
        self._changed_dags: set[str] = set()
        self._changed_runs: set[RunKey] = set()

    def wake(self) -> None:
        """Poll soon, at the latest after a fifth of the active interval: something was started or changed."""
        self._wake.set()

    def triggered(self, dag_id: str, run_id: str) -> None:
        """Say that a run was just triggered: it is absent no more, and worth a poll."""
        key = (dag_id, run_id)
        # A poll under way may have asked before the run was there: what it says of it does not count.
        self._triggered.add(key)
        self.view.absent.discard(key)
        self.wake()

    def restarted(self, dag_id: str, run_id: str) -> None:
        """Say that a run that had ended goes on: what the view shows of it is history."""
        key = (dag_id, run_id)
        known = self.view.runs.pop(key, None)
        if known is not None:
            # A poll under way may have asked before: it shows the same end once more.
            self._outdated[key] = known.finished_at
        self.wake()

    def deleted(self, dag_id: str, run_id: str) -> None:
        """Say that a run is being deleted in Airflow: what still shows it was asked before."""
        self.view.runs.pop((dag_id, run_id), None)
        self._deleted[dag_id, run_id] = time.monotonic()

    async def run(self) -> None:
        """Poll until cancelled.

        Raises:
            NotReadyError: Airflow refused to log us in three times in a row (``AirflowUnauthorized``): the
                password is another one now, and this poller's client cannot know it.
        """
        while True:
            self._wake.clear()
            started = time.monotonic()
            error = await self.poll()
            if error is not None and error.reason == UNAUTHORIZED and self._failures >= _FAILURES_TO_TELL:
                raise error
            # Never busier than half of the time, however slowly Airflow answers.
            await self._pause(max(self._delay(error), time.monotonic() - started), failed=error is not None)

    async def poll(self) -> OperatorError | None:
        """Poll once; tells ``on_change`` and returns why it failed, if it did."""
        before = (self.view.reachable, str(self.view.error), self.view.synced, self.view.health)
        error: OperatorError | None = None
        self.polls += 1
        try:
            await self._read(self._awaiting())
        except OperatorError as problem:
            error = problem
        except Exception as problem:
            _log.exception("A poll of Airflow at %s failed in an unexpected way", self.client.url)
            error = TransientError(
                f"The operator failed to read Airflow: {problem!r}", reason="InternalError"
            )
        self._failures = 0 if error is None else self._failures + 1
        if error is None:
            self.view.reachable, self.view.synced, self.view.error = True, True, None
        elif not self.view.reachable or self._failures >= _FAILURES_TO_TELL:
            self.view.reachable, self.view.error = False, error
        after = (self.view.reachable, str(self.view.error), self.view.synced, self.view.health)
        change = Change(frozenset(self._changed_dags), frozenset(self._changed_runs), before != after)
        self._changed_dags.clear()
        self._changed_runs.clear()
        if change:
            try:
                self._on_change(change)
            except Exception:
                _log.exception("Nobody could be told of a change in Airflow at %s", self.client.url)
        return error

    async def _read(self, awaited: Awaited) -> None:
        now = time.monotonic()
        self._triggered.clear()
        slow, resync = now >= self._slow_due, now >= self._resync_due
        await self._read_dags(
            awaited.dags, self._held(awaited.runs) if slow else [], slow=slow, resync=resync
        )
        await self._read_runs(awaited, slow=slow, resync=resync)
        if slow:
            self.view.health = await self.client.health()
            self._slow_due = now + self._idle_interval
        if resync:
            self._resync_due = now + self._resync_interval

    async def _read_dags(
        self, awaited: Mapping[str, AwaitedDag], held: list[str], *, slow: bool, resync: bool
    ) -> None:
        missing = self._not_shown(awaited)
        if resync:
            dags = await self.client.dags_tagged([DAG_TAG])
            self._dags = {dag_id: dag for dag_id, dag in dags.items() if dag_id.startswith(self._prefix)}
            missing = self._not_shown(awaited)
        elif missing:
            self._dags |= await self.client.dags_tagged({dag_hash_tag(dag.hash) for dag in missing.values()})
        if held and not resync:
            self._dags |= await self.client.dags(held)
        if slow or resync or missing:
            self._errors = await self.client.import_errors(self._bundle)
            self._show_dags(awaited)
        self._quiet = self._quiet + 1 if missing == self._missing and not self._changed_dags else 0
        self._missing = missing

    def _held(self, awaited: Iterable[RunKey]) -> list[str]:
        """The DAGs of runs that Airflow has not begun: somebody may have paused them."""
        runs = self.view.runs
        waiting = {key[0] for key in awaited if key in runs and runs[key].state == "queued"}
        return sorted(waiting & self._dags.keys())

    def _not_shown(self, awaited: Mapping[str, AwaitedDag]) -> dict[str, AwaitedDag]:
        return {
            dag_id: want
            for dag_id, want in awaited.items()
            if dag_id not in self._dags or want.hash not in self._dags[dag_id].hashes
        }

    def _show_dags(self, awaited: Mapping[str, AwaitedDag]) -> None:
        failures: dict[str, list[ImportFailure]] = {}
        for failure in self._errors:
            failures.setdefault(failure.path, []).append(failure)
        dags: dict[str, DagView] = {}
        for dag_id in {*self._dags, *awaited}:
            dag = self._dags.get(dag_id)
            path = dag.path if dag is not None and dag.path else None
            if path is None and dag_id in awaited:
                path = awaited[dag_id].path
            candidates = failures.get(path, []) if path is not None else []
            own = [some for some in candidates if dag is None or some.bundle in (None, dag.bundle)]
            problem = own[0] if own else None
            if dag is not None:
                dags[dag_id] = DagView(dag.hashes, problem, dag.paused)
            elif problem is not None:
                dags[dag_id] = DagView(import_error=problem)
        for dag_id in {*dags, *self.view.dags}:
            if dags.get(dag_id) != self.view.dags.get(dag_id):
                self._changed_dags.add(dag_id)
        self.view.dags = dags

    async def _read_runs(self, awaited: Awaited, *, slow: bool, resync: bool) -> None:
        view, keys = self.view, set(awaited.runs)
        asked_at = datetime.now(UTC)
        runs, clock = await self.client.dag_runs_updated_since(self._since, self._prefix)
        ours = {*view.dags, *awaited.dags, *(dag_id for dag_id, _ in keys)}
        self._show_runs(run for run in runs if run.dag_id in ours)
        self._since = (clock or asked_at) - _OVERLAP

        unknown = keys.difference(view.runs)
        if resync:
            unknown |= {key for key in keys if key in view.runs and not view.runs[key].finished}
        elif not slow:
            unknown -= view.absent
        if unknown:
            found = await self.client.dag_runs(unknown)
            self._show_runs(found.values())
            self._show_absent(unknown.difference(found))
        view.absent &= keys

        ended = [key for key, run in view.runs.items() if run.finished and run.tasks is None]
        if ended:
            for key, tasks in (await self.client.task_instances_of(ended)).items():
                view.runs[key] = RunView(view.runs[key].run, tasks)
                self._changed_runs.add(key)
        self._forget(keys)

    def _show_runs(self, runs: Iterable[DagRun]) -> None:
        lately = time.monotonic() - _DELETED_SECONDS
        self._deleted = {key: at for key, at in self._deleted.items() if at > lately}
        for run in runs:
            if run.key in self._deleted:
                continue
            if run.finished and self._outdated.get(run.key, _NEVER) == run.finished_at:
                continue
            self._outdated.pop(run.key, None)
            self.view.absent.discard(run.key)
            known = self.view.runs.get(run.key)
            if known is None or known.run != run:
                # Out and in again: the dict's order is that of the last change.
                self.view.runs.pop(run.key, None)
                self.view.runs[run.key] = RunView(run)
                self._changed_runs.add(run.key)

    def _show_absent(self, keys: Iterable[RunKey]) -> None:
        for key in keys:
            if key in self._triggered:
                continue
            if self.view.runs.pop(key, None) is not None or key not in self.view.absent:
                self.view.absent.add(key)
                self._changed_runs.add(key)

    def _forget(self, awaited: set[RunKey]) -> None:
        # What is told only now nobody can await yet.
        known = awaited | self._changed_runs
        spare = [key for key in self.view.runs if key not in known]
        for key in spare[: max(len(spare) - self._max_runs, 0)]:
            del self.view.runs[key]

    def _delay(self, error: OperatorError | None) -> float:
        if error is not None:
            wait = min(self._active_interval * 2.0 ** min(self._failures - 1, 10), _BACKOFF_LIMIT)
            asked = error.retry_after if isinstance(error, TransientError) else None
            return max(wait * random.uniform(0.5, 1.0), min(asked or 0.0, 60.0))
        awaited = self._awaiting()
        runs = self.view.runs
        if any(key in runs and not runs[key].finished for key in awaited.runs):
            return self._active_interval
        if any(key not in runs and key not in self.view.absent for key in awaited.runs):
            return self._active_interval
        if self._not_shown(awaited.dags):
            patience = 1.5 ** max(self._quiet - _PATIENCE, 0) if self._quiet < _PATIENCE + 40 else 1e6
            return min(self._active_interval * patience, self._idle_interval)
        return self._idle_interval * random.uniform(0.9, 1.0)

    async def _pause(self, delay: float, *, failed: bool) -> None:
        # Even a wake waits for this: many at once make one poll, and none hammers an Airflow that is down.
        least = min(delay, self._active_interval if failed else self._active_interval / 5)
        await asyncio.sleep(least)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay - least):
                await self._wake.wait()
