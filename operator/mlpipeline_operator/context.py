"""What all reconciles share: the store, the connection, the queue, and what is known between two events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mlpipeline_operator.apply import needs_apply, with_applied_hash
from mlpipeline_operator.cluster import Cluster, Manifest, MissingError
from mlpipeline_operator.connections import Connections
from mlpipeline_operator.kinds import OWN, PIPELINE, RUN
from mlpipeline_operator.recorder import EventRecorder
from mlpipeline_operator.references import References
from mlpipeline_operator.room import RoomInquiry
from mlpipeline_operator.routing import BUNDLE, dependents, pipeline_airflow
from mlpipeline_operator.settings import Settings
from mlpipeline_operator.store import Body, Key, Store, key_of
from mlpipeline_operator.values import Owner, PipelineValue

__all__ = ["BUNDLE", "Context", "PlacedPipeline", "owner_of"]


def owner_of(body: Body) -> Owner:
    """What an ownerReference to an observed object needs."""
    metadata = body["metadata"]
    return Owner(body["apiVersion"], body["kind"], metadata["namespace"], metadata["name"], metadata["uid"])


@dataclass(frozen=True, slots=True)
class PlacedPipeline:
    """A valid pipeline, the hash of its DAG and the ConfigMap that holds it."""

    value: PipelineValue
    dag_hash: str
    config_map: str


class Context:
    """The state of one running operator.

    Attributes:
        pipelines: What each pipeline last wanted, by namespace and name. ``None`` for one that was looked at
            and is not valid. Rebuilt after a restart by the first reconcile of each.
        recorder: Tells transitions as Events; run beside the queue.
        references: The users' ConfigMaps that pipelines take code from; watched beside the queue.
        claims: Which pipeline has a DAG, by namespace, Airflow and dag_id.
        finalizing: Since when the runs of these UIDs wait for Airflow to let them go.
        conflicts: The pipelines that want a DAG that another has, by namespace and name.
    """

    def __init__(
        self,
        settings: Settings,
        cluster: Cluster,
        store: Store,
        connections: Connections,
        enqueue: Callable[[Key], None],
    ) -> None:
        self.settings = settings
        self.cluster = cluster
        self.store = store
        self.connections = connections
        self.enqueue = enqueue
        self.pipelines: dict[tuple[str, str], PlacedPipeline | None] = {}
        self.room = RoomInquiry()
        self.recorder = EventRecorder(cluster, store, settings.identity)
        self.references = References(cluster, settings.namespaces, enqueue)
        self.claims: dict[tuple[str, str, str], str] = {}
        self.conflicts: set[tuple[str, str]] = set()
        self.finalizing: dict[str, datetime] = {}

    @staticmethod
    def now() -> datetime:
        """The time, with its zone."""
        return datetime.now(UTC)

    async def ensure(self, manifest: Manifest) -> bool:
        """Apply ``manifest`` if the live object differs; return whether it was written."""
        desired = with_applied_hash(manifest)
        metadata = desired["metadata"]
        if not needs_apply(desired, self.store.get(desired["kind"], metadata["namespace"], metadata["name"])):
            return False
        self.keep(await self.cluster.apply(desired))
        return True

    async def ensure_all(self, manifests: list[Manifest]) -> int:
        """Apply those of ``manifests`` that differ, in order; return how many were written."""
        return sum([await self.ensure(manifest) for manifest in manifests])

    async def write_status(self, body: Body, status: Mapping[str, Any]) -> bool:
        """Write ``status`` if it differs from what ``body`` has; return whether it was written."""
        if body.get("status") == status:
            return False
        metadata = body["metadata"]
        known = self.store.get(*key_of(body))
        if known is None or known["metadata"]["uid"] != metadata["uid"]:
            return False
        # The version keeps a status from landing on a namesake that has taken the object's place unseen: of a
        # status the API server does not compare the UID.
        identity = {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]}
        manifest = {
            "apiVersion": body["apiVersion"],
            "kind": body["kind"],
            "metadata": identity | {"resourceVersion": known["metadata"]["resourceVersion"]},
            "status": dict(status),
        }
        try:
            written = await self.cluster.apply_status(manifest)
        except MissingError:
            return False
        self.keep(written)
        self.recorder.record(body, body.get("status"), status)
        self.enqueue_owners(written)
        return True

    async def patch_metadata(self, body: Body, patch: Mapping[str, Any]) -> None:
        """Merge-patch an object's metadata; nothing happens if it is gone."""
        metadata = body["metadata"]
        written = await self.cluster.merge_metadata(
            body["kind"], metadata["namespace"], metadata["name"], patch
        )
        if written is not None:
            self.keep(written)

    def keep(self, written: Body) -> None:
        """Remember the answer to a write of ours.

        What somebody else changed just before is in it, too: the watch's word of that will be no news then,
        so it must be noticed here.
        """
        known = self.store.get(*key_of(written))
        if self.store.put(written) and known is not None and _others_part(known) != _others_part(written):
            if written["kind"] in OWN:
                self.enqueue(key_of(written))
            self.enqueue_owners(written)

    async def delete(self, body: Body) -> None:
        """Delete an object."""
        metadata = body["metadata"]
        await self.cluster.delete(body["kind"], metadata["namespace"], metadata["name"])
        if metadata.get("finalizers"):
            # The watch may have shown it as going before this answer came: who finalizes it must find it.
            self.store.mark_going(body)
        else:
            self.store.remove(body)

    def enqueue_owners(self, body: Body) -> None:
        """Let those that depend on ``body`` be looked at again (see ``routing``)."""
        for key in dependents(self.store, body):
            self.enqueue(key)

    def enqueue_airflow_users(self, namespace: str, airflow: str) -> None:
        """Let every pipeline of an Airflow, and every unfinished run, be looked at again."""
        for pipeline in self.store.of_kind(PIPELINE, namespace):
            if pipeline_airflow(pipeline) == airflow:
                self.enqueue((PIPELINE, namespace, pipeline["metadata"]["name"]))
        for run in self.store.of_kind(RUN, namespace):
            self.enqueue((RUN, namespace, run["metadata"]["name"]))


def _others_part(body: Body) -> list[Any]:
    """What of an object others may change: not the status of our own kinds, nor the spec of what we make."""
    metadata = body["metadata"]
    if body["kind"] not in OWN:
        return [metadata.get("deletionTimestamp"), body.get("status")]
    fields = ("deletionTimestamp", "generation", "labels", "annotations", "finalizers", "ownerReferences")
    return [metadata.get(field) for field in fields]
