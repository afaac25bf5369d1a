"""``/healthz``, ``/readyz`` and ``/metrics`` of the operator itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from mlpipeline_operator.instruments import REGISTRY

__all__ = ["serve_health"]


@asynccontextmanager
async def serve_health(port: int, is_ready: Callable[[], bool]) -> AsyncIterator[int]:
    """Serve for as long as the context lasts; yields the port.

    Args:
        port: TCP port on all addresses; 0 for any free one.
        is_ready: Whether this replica does its duty (a replica that waits for the Lease does, too).
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        ready = is_ready()
        return web.Response(text="ok\n" if ready else "starting\n", status=200 if ready else 503)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, port=port)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
