"""One Lease: of several replicas one leads, and one that lost its turn writes nothing any more."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime

from mlpipeline_operator.cluster import Cluster, ConflictError, Manifest, MissingError
from mlpipeline_operator.errors import OperatorError

__all__ = ["Leadership"]

_log = logging.getLogger(__name__)

NAME = "mlpipeline-operator"
DURATION_SECONDS = 15
RENEW_SECONDS = 5.0
# A leader stops writing this long before others may take over, so that a write that is on its way when the
# process freezes still ends within the leader's own term.
MARGIN_SECONDS = 3.0


class Leadership:
    """Takes, renews and gives back the Lease.

    Args:
        cluster: A connection whose writes are not guarded by this very leadership.
        namespace: The operator's own.
        identity: Unique to this replica (the pod's name).
    """

    def __init__(self, cluster: Cluster, namespace: str, identity: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._identity = identity
        self._term_ends = 0.0
        # The holder's last renewal as it was first seen here, by our own clock: clocks of nodes differ.
        self._seen: tuple[str, float] = ("", 0.0)
        # What was told last of why the Lease could not be asked for: told once, not every second.
        self._trouble = ""

    def is_leading(self) -> bool:
        """Whether this replica may write now; false by itself when the Lease was not renewed in time."""
        return time.monotonic() < self._term_ends - MARGIN_SECONDS

    async def acquire(self) -> None:
        """Wait until this replica leads."""
        waiting = False
        while not await self._try():
            if not waiting:
                _log.info("waiting for the lease %s/%s", self._namespace, NAME)
                waiting = True
            await asyncio.sleep(RENEW_SECONDS / 5)
        _log.info("leading as %s", self._identity)

    async def hold(self) -> None:
        """Renew for as long as it goes well; return once the Lease is lost."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            if not await self._try() and not self.is_leading():
                _log.error("lost the lease %s/%s", self._namespace, NAME)
                return

    async def release(self) -> None:
        """Give the Lease back, so that another replica need not wait for it to run out."""
        if not self.is_leading():
            return
        self._term_ends = 0.0
        try:
            lease = await self._cluster.get("Lease", self._namespace, NAME)
            if lease["spec"].get("holderIdentity") == self._identity:
                lease["spec"]["holderIdentity"] = ""
                await self._cluster.replace(lease)
        except OperatorError as error:
            _log.info("could not give the lease back: %s", error.message)

    async def _try(self) -> bool:
        """Take or renew the Lease; false if another holds it or the API server does not answer."""
        asked = time.monotonic()
        try:
            try:
                lease = await self._cluster.get("Lease", self._namespace, NAME)
            except MissingError:
                taken = await self._cluster.create(self._lease(transitions=0)) is not None
            else:
                taken = await self._take(lease, asked)
        except ConflictError:
            return False
        except OperatorError as error:
            if error.message != self._trouble:
                _log.warning("lease: %s", error.message)
                self._trouble = error.message
            return False
        self._trouble = ""
        if taken:
            self._term_ends = asked + DURATION_SECONDS
        return taken

    async def _take(self, lease: Manifest, asked: float) -> bool:
        spec = lease["spec"]
        holder, renewed = spec.get("holderIdentity") or "", spec.get("renewTime") or ""
        if holder and holder != self._identity:
            if self._seen[0] != renewed:
                self._seen = (renewed, asked)
            if asked < self._seen[1] + (spec.get("leaseDurationSeconds") or DURATION_SECONDS):
                return False
        transitions = (spec.get("leaseTransitions") or 0) + (holder != self._identity)
        renewal = self._lease(transitions)
        renewal["metadata"]["resourceVersion"] = lease["metadata"]["resourceVersion"]
        if holder == self._identity and spec.get("acquireTime"):
            renewal["spec"]["acquireTime"] = spec["acquireTime"]
        await self._cluster.replace(renewal)
        return True

    def _lease(self, transitions: int) -> Manifest:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": NAME, "namespace": self._namespace},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": DURATION_SECONDS,
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": transitions,
            },
        }
