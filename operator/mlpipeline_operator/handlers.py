"""All of kopf: which kinds are watched, and that their events go to the engine.

kopf writes nothing here: no annotations, no finalizers, no events. Nor are its indexes used, though they
promise that every kind was listed before the first event: each listed object wakes up all others that wait
for that, which takes half a minute for a thousand. ``Engine.prime`` reads everything first instead.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping
from typing import Any

import kopf

from mlpipeline_operator.engine import Engine
from mlpipeline_operator.kinds import KINDS, OWN, OWNED, OWNED_SELECTOR
from mlpipeline_operator.settings import Settings

__all__ = ["operate"]


def _registry(engine: Engine) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    async def changed(event: Mapping[str, Any], **_: Any) -> None:
        if event["type"] is None:
            engine.listed(event["object"])
        else:
            engine.changed(event["object"], deleted=event["type"] == "DELETED")

    for name in (*OWN, *OWNED):
        kind = KINDS[name]
        resource = (kind.group, kind.version, kind.plural)
        kopf.on.event(*resource, id=f"changed-{kind.plural}", registry=registry)(changed)

    @kopf.on.login(registry=registry)
    async def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

    return registry


class _NothingToCompare(kopf.DiffBaseStorage):
    """Spares the deep copy that kopf takes of each object for handlers of changes: there are none."""

    def build(self, *, body: Any, extra_fields: Any = None) -> kopf.BodyEssence:
        return kopf.BodyEssence({})

    def fetch(self, *, body: Any) -> kopf.BodyEssence | None:
        return None

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        return None


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    # The kinds are known, and served before kopf starts: nothing needs to look for new ones.
    settings.scanning.disabled = True
    settings.persistence.diffbase_storage = _NothingToCompare()
    for name in OWNED:
        kind = KINDS[name]
        settings.watching.label_selectors[kind.group, kind.version, kind.plural] = OWNED_SELECTOR
    return settings


async def operate(
    engine: Engine, settings: Settings, stop: Callable[[], None], ready: asyncio.Event | None = None
) -> None:
    """Watch, and pass on what is seen, until cancelled.

    Args:
        engine: Where the events go.
        settings: Which namespaces to watch.
        stop: Called on SIGTERM and SIGINT: kopf would take these for itself, and end its own part alone.
        ready: Set once the watches have been started.
    """
    others = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=_registry(engine),
        settings=_settings(),
        namespaces=settings.namespaces,
        clusterwide=not settings.namespaces,
        standalone=True,
        ready_flag=ready,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await kopf.run_tasks(tasks, ignored=others)
