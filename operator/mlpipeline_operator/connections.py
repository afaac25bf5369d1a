"""One connection to each Airflow that is up: its client, its poller, and what is awaited there."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mlpipeline_operator import names
from mlpipeline_operator.airflow import (
    AirflowClient,
    AirflowPoller,
    Awaited,
    AwaitedDag,
    Change,
    DagView,
    RunKey,
    RunView,
    TaskInstance,
)
from mlpipeline_operator.cluster import Cluster
from mlpipeline_operator.endpoints import Endpoint, connect, managed_endpoint, read_version
from mlpipeline_operator.errors import NotReadyError, OperatorError
from mlpipeline_operator.settings import Settings
from mlpipeline_operator.status.external import Seen

__all__ = ["Connections"]

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 2.0
# An external Airflow may be away for long, or never let us in.
_LONGEST_RETRY_SECONDS = 30.0
# After this long an external Airflow that does not show a DAG most likely never will.
_DELIVERY_SECONDS = 60.0

OnChange = Callable[[str, str, set[str], set[str]], None]
"""Called with namespace, Airflow, pipelines and runs that Airflow shows something new about."""


@dataclass(slots=True)
class _Connection:
    """What is known of one Airflow; what is awaited may come before the connection."""

    dags: dict[str, AwaitedDag] = field(default_factory=dict)
    runs: set[RunKey] = field(default_factory=set)
    task: asyncio.Task[None] | None = None
    client: AirflowClient | None = None
    poller: AirflowPoller | None = None
    secrets_at: float = float("-inf")
    uid: str = ""
    since: datetime | None = None
    foreign: dict[str, set[str]] = field(default_factory=dict)
    untold: set[RunKey] = field(default_factory=set)
    endpoint: Endpoint | None = None
    version: str | None = None
    problem: OperatorError | None = None
    awaited_at: dict[str, float] = field(default_factory=dict)
    timers: dict[str, asyncio.TimerHandle] = field(default_factory=dict)


class Connections:
    """All Airflows that this operator talks to, by namespace and name.

    Args:
        settings: Poll intervals and how an Airflow is addressed.
        cluster: To read the administrator's Secret.
        on_change: Told what each poll brought.
        on_external: Told the namespace and name of an external Airflow that is reached now, or is not.
    """

    def __init__(
        self,
        settings: Settings,
        cluster: Cluster,
        on_change: OnChange,
        on_external: Callable[[str, str], None] = lambda namespace, airflow: None,
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._on_change = on_change
        self._on_external = on_external
        self._connections: dict[tuple[str, str], _Connection] = {}

    def open(
        self,
        namespace: str,
        airflow: str,
        uid: str,
        since: datetime | None,
        endpoint: Endpoint | None = None,
    ) -> None:
        """Begin to poll an Airflow; nothing happens if it is polled already, and in the same place.

        Args:
            namespace: The Airflow's namespace.
            airflow: Its name.
            uid: The resource's UID.
            since: Runs that Airflow started by itself or for others from then on are shown.
            endpoint: Where an external one is.
        """
        connection = self._of(namespace, airflow)
        if connection.task is not None and endpoint != connection.endpoint:
            connection.task.cancel()
            connection.task = connection.problem = connection.version = None
        connection.endpoint = endpoint
        if connection.task is None:
            connection.uid, connection.since = uid, since
            connection.task = asyncio.create_task(
                self._serve(namespace, airflow, connection), name=f"airflow {namespace}/{airflow}"
            )

    async def drop(self, namespace: str, airflow: str) -> None:
        """Forget an Airflow that is gone."""
        connection = self._connections.pop((namespace, airflow), None)
        for timer in connection.timers.values() if connection is not None else ():
            timer.cancel()
        if connection is not None and connection.task is not None:
            connection.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await connection.task

    async def close(self) -> None:
        """Close every connection."""
        for namespace, airflow in list(self._connections):
            await self.drop(namespace, airflow)

    def secrets_due(self, namespace: str, airflow: str, again: float) -> bool:
        """Whether this process did not create the Airflow's secrets yet, or longer than ``again`` s ago."""
        connection = self._of(namespace, airflow)
        now = asyncio.get_running_loop().time()
        if now < connection.secrets_at + again:
            return False
        connection.secrets_at = now
        return True

    def await_dag(self, namespace: str, airflow: str, dag_id: str, dag: AwaitedDag | None) -> None:
        """Say which version of a DAG Airflow should have; ``None`` when it should have none."""
        connection = self._of(namespace, airflow)
        if connection.dags.get(dag_id) == dag:
            return
        if dag is None:
            del connection.dags[dag_id]
            connection.awaited_at.pop(dag_id, None)
            self._forget_untold(connection, dag_id)
        else:
            connection.dags[dag_id] = dag
            connection.awaited_at[dag_id] = asyncio.get_running_loop().time()
            self._wake(connection)

    def forget_dag(self, namespace: str, dag_id: str) -> None:
        """Nobody is to be told of a DAG's runs: it has no pipeline."""
        for (place, _), connection in self._connections.items():
            if place == namespace:
                self._forget_untold(connection, dag_id)

    def await_run(self, namespace: str, airflow: str, dag_id: str, run_id: str) -> None:
        """Follow a run until ``forget_run``."""
        connection = self._of(namespace, airflow)
        if (dag_id, run_id) not in connection.runs:
            connection.runs.add((dag_id, run_id))
            self._wake(connection)

    def forget_run(self, namespace: str, airflow: str, dag_id: str, run_id: str) -> None:
        """Follow a run no longer."""
        self._of(namespace, airflow).runs.discard((dag_id, run_id))

    def is_synced(self, namespace: str, airflow: str) -> bool:
        """Whether Airflow was read in full at least once: what is not shown, Airflow does not have."""
        poller = self._of(namespace, airflow).poller
        return poller is not None and poller.view.synced

    def waits_long(self, namespace: str, airflow: str, dag_id: str) -> bool:
        """Whether an awaited DAG should be there by now; if not yet, ``on_change`` tells when it should."""
        connection, loop = self._of(namespace, airflow), asyncio.get_running_loop()
        due = connection.awaited_at.get(dag_id, loop.time()) + _DELIVERY_SECONDS
        if loop.time() >= due:
            return True
        timer = connection.timers.pop(dag_id, None)
        if timer is not None:
            timer.cancel()
        pipeline = dag_id.removeprefix(f"{namespace}.")
        connection.timers[dag_id] = loop.call_at(
            due, self._on_change, namespace, airflow, {pipeline}, set[str]()
        )
        return False

    def seen(self, namespace: str, airflow: str) -> Seen:
        """What is known of an external Airflow."""
        connection = self._of(namespace, airflow)
        if connection.poller is None:
            return Seen(connection.version, error=connection.problem)
        view = connection.poller.view
        components = view.health.components if view.health is not None else {}
        is_synced = view.synced and view.reachable
        error = view.error or (None if is_synced else connection.problem)
        return Seen(connection.version, is_synced, error, components)

    def dag(self, namespace: str, airflow: str, dag_id: str) -> DagView | None:
        """What Airflow showed of a DAG."""
        poller = self._of(namespace, airflow).poller
        return poller.view.dags.get(dag_id) if poller is not None else None

    def run(self, namespace: str, airflow: str, dag_id: str, run_id: str) -> RunView | None:
        """What Airflow showed of a run; of one that has ended only once its tasks are known, too."""
        poller = self._of(namespace, airflow).poller
        run = poller.view.runs.get((dag_id, run_id)) if poller is not None else None
        # Between the poller's two readings nobody could tell which step failed.
        return None if run is not None and run.run.finished and run.tasks is None else run

    def run_is_absent(self, namespace: str, airflow: str, dag_id: str, run_id: str) -> bool:
        """Whether Airflow answered that it does not have an awaited run (somebody deleted it there)."""
        poller = self._of(namespace, airflow).poller
        return poller is not None and (dag_id, run_id) in poller.view.absent

    def foreign_runs(self, namespace: str, airflow: str, dag_id: str) -> list[RunView]:
        """The runs of a DAG that Airflow started by itself, or for somebody else than the operator."""
        connection = self._of(namespace, airflow)
        if connection.poller is None:
            return []
        shown = connection.poller.view.runs
        known = connection.foreign.get(dag_id, set())
        connection.untold.difference_update([(dag_id, run_id) for run_id in known])
        known.intersection_update([run_id for run_id in known if (dag_id, run_id) in shown])
        return [shown[dag_id, run_id] for run_id in sorted(known)]

    def wake(self, namespace: str, airflow: str) -> None:
        """Ask Airflow soon: something happens that it has not told of yet."""
        self._wake(self._of(namespace, airflow))

    async def trigger(
        self, namespace: str, airflow: str, dag_id: str, run_id: str, conf: Mapping[str, Any]
    ) -> None:
        """Start a run; one that is there already is left as it is."""
        await self._client(namespace, airflow).trigger(dag_id, run_id, conf)

    async def has_run(self, namespace: str, airflow: str, dag_id: str, run_id: str) -> bool:
        """Ask Airflow whether it has a run."""
        return await self._client(namespace, airflow).dag_run(dag_id, run_id) is not None

    async def xcom(
        self, namespace: str, airflow: str, dag_id: str, run_id: str, task_id: str, key: str
    ) -> Any | None:
        """Read what a task has left for others; ``None`` if it left nothing."""
        return await self._client(namespace, airflow).xcom(dag_id, run_id, task_id, key)

    async def stop_run(self, namespace: str, airflow: str, dag_id: str, run_id: str) -> None:
        """Stop a run; nothing happens if it has ended or is not there."""
        await self._client(namespace, airflow).cancel(dag_id, run_id)
        self.wake(namespace, airflow)

    async def resume_run(self, namespace: str, airflow: str, dag_id: str, run_id: str) -> None:
        """Have a stopped run's unfinished tasks done again; nothing happens if it runs already."""
        client, poller = self._client(namespace, airflow), self._of(namespace, airflow).poller
        if await client.resume(dag_id, run_id) and poller is not None:
            poller.restarted(dag_id, run_id)

    async def task_instances(
        self, namespace: str, airflow: str, dag_id: str, run_id: str
    ) -> tuple[TaskInstance, ...]:
        """Read the task instances of a run as they are now."""
        return await self._client(namespace, airflow).task_instances(dag_id, run_id)

    async def delete_run(self, namespace: str, airflow: str, dag_id: str, run_id: str) -> None:
        """Stop a run and delete it in Airflow; nothing happens if it is not there."""
        self.forget_run(namespace, airflow, dag_id, run_id)
        connection = self._of(namespace, airflow)
        connection.foreign.get(dag_id, set()).discard(run_id)
        if connection.poller is not None:
            connection.poller.deleted(dag_id, run_id)
        client = self._client(namespace, airflow)
        await client.cancel(dag_id, run_id)
        await client.delete_dag_run(dag_id, run_id)

    def _of(self, namespace: str, airflow: str) -> _Connection:
        return self._connections.setdefault((namespace, airflow), _Connection())

    def _client(self, namespace: str, airflow: str) -> AirflowClient:
        client = self._of(namespace, airflow).client
        if client is None:
            raise NotReadyError(f"not connected to Airflow {airflow} yet", reason="WaitingForAirflow")
        return client

    @staticmethod
    def _forget_untold(connection: _Connection, dag_id: str) -> None:
        for run_id in connection.foreign.get(dag_id, ()):
            connection.untold.discard((dag_id, run_id))

    @staticmethod
    def _wake(connection: _Connection) -> None:
        if connection.poller is not None:
            connection.poller.wake()

    async def _serve(self, namespace: str, airflow: str, connection: _Connection) -> None:
        """Log in and poll until cancelled; begin anew if the Secret was replaced."""
        retry = _RETRY_SECONDS
        while True:
            try:
                await self._poll(namespace, airflow, connection)
            except (OperatorError, OSError, ValueError) as error:
                _log.warning("Airflow %s/%s: %s", namespace, airflow, error)
                if connection.endpoint is not None:
                    known = error if isinstance(error, OperatorError) else NotReadyError(str(error))
                    retry = self._missed(namespace, airflow, connection, known, retry)
            await asyncio.sleep(retry)

    def _missed(
        self, namespace: str, airflow: str, connection: _Connection, error: OperatorError, retry: float
    ) -> float:
        """An external Airflow could not be polled: returns when to try again."""
        is_new = str(error) != str(connection.problem)
        connection.problem = error
        if is_new:
            self._on_external(namespace, airflow)
        return _RETRY_SECONDS if is_new else min(2 * retry, _LONGEST_RETRY_SECONDS)

    async def _poll(self, namespace: str, airflow: str, connection: _Connection) -> None:
        endpoint = connection.endpoint or managed_endpoint(
            self._settings.airflow_url_template, namespace, airflow
        )
        client = await connect(self._cluster, namespace, endpoint)
        if endpoint.is_external:
            try:
                connection.version = await read_version(client)
            except OperatorError:
                await client.close()
                raise
        poller = AirflowPoller(
            client,
            # A run that Airflow started is awaited until its pipeline has seen it, however many there are.
            lambda: Awaited(dags=dict(connection.dags), runs=connection.runs | connection.untold),
            lambda change: self._changed(namespace, airflow, change),
            active_interval=self._settings.airflow_poll_active,
            idle_interval=self._settings.airflow_poll_idle,
            since=connection.since,
            # Others have their DAGs there, too.
            dag_id_prefix=f"{namespace}." if endpoint.is_external else "",
        )
        connection.client, connection.poller = client, poller
        try:
            await poller.run()
        finally:
            connection.client = connection.poller = None
            await client.close()

    def _changed(self, namespace: str, airflow: str, change: Change) -> None:
        changed = set(change.dags)
        if change.airflow and self._of(namespace, airflow).endpoint is not None:
            self._on_external(namespace, airflow)
        if change.airflow:
            # The first reading shows no DAG that Airflow has lost; whoever waits for one must look, too.
            changed |= set(self._of(namespace, airflow).dags)
        connection = self._of(namespace, airflow)
        runs = set()
        for dag_id, run_id in change.runs:
            run = self._run(namespace, connection, dag_id, run_id)
            if run is not None:
                runs.add(run)
            if names.run_in_id(run_id) is None:
                connection.foreign.setdefault(dag_id, set()).add(run_id)
                changed.add(dag_id)
                if run is not None:
                    connection.untold.add((dag_id, run_id))
        # A DAG that was paused tells why its runs wait.
        for dag_id, run_id in connection.runs if change.dags else ():
            if dag_id in change.dags and (name := self._run(namespace, connection, dag_id, run_id)):
                runs.add(name)
        pipelines = {self._pipeline(namespace, connection, dag_id) for dag_id in changed}
        self._on_change(namespace, airflow, {each for each in pipelines if each is not None}, runs)

    def _run(self, namespace: str, connection: _Connection, dag_id: str, run_id: str) -> str | None:
        """The name of a run's resource, whether there is one yet or not."""
        if (own := names.run_in_id(run_id)) is not None:
            return own
        pipeline = self._pipeline(namespace, connection, dag_id)
        return names.foreign_run(pipeline, connection.uid, run_id) if pipeline is not None else None

    @staticmethod
    def _pipeline(namespace: str, connection: _Connection, dag_id: str) -> str | None:
        """The pipeline that a DAG is of, which says so for a DAG of the user's own."""
        awaited = connection.dags.get(dag_id)
        if awaited is not None and awaited.pipeline:
            return awaited.pipeline
        prefix = f"{namespace}."
        return dag_id.removeprefix(prefix) if dag_id.startswith(prefix) else None
