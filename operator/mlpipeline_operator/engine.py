"""Puts the parts together: what the watches bring goes to the store, and what depends on it to the queue."""

from __future__ import annotations

import asyncio
import logging

from mlpipeline_operator import names
from mlpipeline_operator.cluster import Cluster, MissingError
from mlpipeline_operator.connections import Connections
from mlpipeline_operator.context import Context
from mlpipeline_operator.errors import TransientError
from mlpipeline_operator.instruments import RECONCILE_SECONDS, RECONCILES
from mlpipeline_operator.kinds import AIRFLOW, OWN, OWNED, PIPELINE, RUN
from mlpipeline_operator.reconcile.airflows import reconcile_airflow
from mlpipeline_operator.reconcile.bundles import reconcile_bundle
from mlpipeline_operator.reconcile.pipelines import reconcile_pipeline
from mlpipeline_operator.reconcile.runs import reconcile_run
from mlpipeline_operator.recount import Recount
from mlpipeline_operator.routing import BUNDLE, dependents
from mlpipeline_operator.settings import Settings
from mlpipeline_operator.status.run import is_finished
from mlpipeline_operator.store import Body, Key, Store
from mlpipeline_operator.workqueue import WorkQueue

__all__ = ["Engine"]

_log = logging.getLogger(__name__)

_RECONCILES = {
    PIPELINE: reconcile_pipeline,
    RUN: reconcile_run,
    AIRFLOW: reconcile_airflow,
    BUNDLE: reconcile_bundle,
}

# Pipelines that change within this time make one version of their Airflow's bundle.
_BUNDLE_WINDOW_SECONDS = 0.2


class Engine:
    """One operator process, apart from kopf: give it events, and run it.

    Args:
        settings: The operator's settings.
        cluster: The connection that reconciles write through.
    """

    def __init__(self, settings: Settings, cluster: Cluster) -> None:
        self.store = Store()
        self.recount = Recount(cluster, self.store, settings.namespaces, self.changed)
        self.queue: WorkQueue[Key] = WorkQueue(self._reconcile, workers=settings.workers)
        self.connections = Connections(
            settings, cluster, self._airflow_changed, lambda *where: self._enqueue((AIRFLOW, *where))
        )
        self.context = Context(settings, cluster, self.store, self.connections, self._enqueue)

    async def prime(self) -> None:
        """Read everything once, so that no reconcile acts on half of the picture.

        What the watches list afterwards is known then, and costs no second look.
        """
        for kind in (*OWN, *OWNED):
            for body in await self.recount.read(kind):
                self.store.put(body)
            self.recount.begin(kind)
        for kind in OWN:
            for namespace, name in self.store.names(kind):
                self._enqueue((kind, namespace, name))

    def listed(self, body: Body) -> None:
        """Take in an object of a watch's (new) listing; what that does not show is found gone later."""
        self.recount.listed(body)
        self.changed(body, deleted=False)

    def changed(self, body: Body, *, deleted: bool) -> None:
        """Have what depends on an object, and the object itself if it is ours, looked at again."""
        if deleted:
            self.store.remove(body)
        elif not self.store.put(body):
            return
        kind, metadata = body["kind"], body["metadata"]
        if kind in _RECONCILES:
            self._enqueue((kind, metadata["namespace"], metadata["name"]))
        for key in dependents(self.store, body):
            self._enqueue(key)

    async def run(self) -> None:
        """Reconcile until cancelled."""
        tasks = [
            asyncio.create_task(self.queue.run(), name="queue"),
            asyncio.create_task(self.context.recorder.run(), name="events"),
            asyncio.create_task(self.context.references.run(), name="references"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.connections.close()

    def _enqueue(self, key: Key) -> None:
        if key[0] == BUNDLE:
            self.queue.add_after(key, _BUNDLE_WINDOW_SECONDS)
        else:
            self.queue.add(key)

    def _airflow_changed(self, namespace: str, airflow: str, pipelines: set[str], runs: set[str]) -> None:
        """Airflow showed something new about these pipelines and runs."""
        for name in pipelines:
            self._enqueue((PIPELINE, namespace, name))
            # A run that waits for its DAG is not in Airflow yet, and its pipeline's status may stay as it is.
            for run in self.store.labelled(names.PIPELINE_LABEL, namespace, name, RUN):
                if not is_finished(run) and not (run.get("status") or {}).get("dagRunId"):
                    self._enqueue((RUN, namespace, run["metadata"]["name"]))
        for name in runs:
            self._enqueue((RUN, namespace, name))

    async def _reconcile(self, key: Key) -> float | None:
        kind, namespace, name = key
        started = asyncio.get_running_loop().time()
        try:
            return await _RECONCILES[kind](self.context, namespace, name)
        except MissingError as error:
            if await self._is_gone(key):
                return None
            raise TransientError(error.message, reason=error.reason) from error
        finally:
            RECONCILES.labels(kind).inc()
            RECONCILE_SECONDS.labels(kind).observe(asyncio.get_running_loop().time() - started)

    async def _is_gone(self, key: Key) -> bool:
        """Whether the object itself was deleted (its namespace, too, maybe) before a watch could tell."""
        kind, namespace, name = key
        body = self.store.get(AIRFLOW if kind == BUNDLE else kind, namespace, name)
        if body is None:
            return True
        try:
            await self.context.cluster.get(str(body["kind"]), namespace, name)
        except MissingError:
            self.changed(body, deleted=True)
            return True
        return False
