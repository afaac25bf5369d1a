"""An Airflow at the boundary: the subset of its REST API that the operator uses, over real HTTP.

It speaks as Airflow 3.3.2 does (paths, filters, pages, statuses, bodies): the tests of the client can be run
against a real one instead (see ``tests/unit/operator/airflow/site.py``). What it does not know, it answers
with 501, so that nobody relies on a filter that it ignores. Nothing in it moves by itself: DAGs are parsed
and runs go on when a test says so.

::

    async with FakeAirflow() as airflow:
        airflow.parse("default.mnist", "mnist/dag.py", tags=["mlpipelines.dev"])
        ...  # something triggers a run at airflow.url
        airflow.advance("default.mnist", "mnist-1.uid", "success", tasks={"train": "success"})
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections import Counter
from typing import Self

from aiohttp import web

from tests.support.fake_airflow.faults import Faults, Handler
from tests.support.fake_airflow.model import FakeDag, FakeModel, FakeRun, FakeTask
from tests.support.fake_airflow.routes import HTTPError, Routes

__all__ = ["FakeAirflow", "FakeDag", "FakeRun", "FakeTask"]


class FakeAirflow(FakeModel, Faults):
    """The server; an asynchronous context manager that listens on a free port of the loopback.

    Args:
        username: The one user.
        password: Their password; may be set anew.
        token_life: Seconds until a token ends.

    Attributes:
        requests: How often each was asked for, as ``"GET dags"``, ``"POST dags/{}/dagRuns"``, ...
    """

    def __init__(self, username: str = "admin", password: str = "admin", token_life: float = 86400) -> None:
        self.username, self.password, self.token_life = username, password, token_life
        FakeModel.__init__(self)
        Faults.__init__(self)
        self.requests: Counter[str] = Counter()
        self._secret = 0
        self._valid_from = 0.0
        self._port = 0
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Listen; on the same port as before, if it did before."""
        app = web.Application(middlewares=[self._middleware])
        app.router.add_route("POST", "/auth/token", self._create_token)
        for method, path, handler in Routes(self).routes():
            app.router.add_route(method, path, handler)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Refuse connections from now on; what it knows stays."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def new_secret(self) -> None:
        """Airflow signs its tokens with another key from now on: those it gave are void (403, not 401)."""
        self._secret += 1

    def expire_tokens(self) -> None:
        """The tokens given so far have ended (401)."""
        self._valid_from = time.time()

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        path = (resource.canonical if resource else request.path).removeprefix("/api/v2/").lstrip("/")
        self.requests[f"{request.method} {re.sub('{[a-z_]+}', '{}', path)}"] += 1
        return await self.apply(request, lambda request: self._answer(request, handler))

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if request.path not in ("/auth/token", "/api/v2/version", "/api/v2/monitor/health"):
                self._check_token(request.headers.get("Authorization", ""))
            return await handler(request)
        except HTTPError as error:
            return web.json_response({"detail": error.detail}, status=error.status)

    def _check_token(self, header: str) -> None:
        if not header.startswith("Bearer "):
            raise HTTPError(401, "Not authenticated")
        try:
            claims, secret = header.removeprefix("Bearer ").split(".")[1:]
            claim = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        except (IndexError, KeyError, ValueError):
            raise HTTPError(403, "Invalid JWT token") from None
        if secret != str(self._secret):
            raise HTTPError(403, "Invalid JWT token")
        if time.time() >= claim["exp"] or claim["iat"] < self._valid_from:
            raise HTTPError(401, "Token Expired")

    async def _create_token(self, request: web.Request) -> web.Response:
        body = await request.json()
        if (body.get("username"), body.get("password")) != (self.username, self.password):
            raise HTTPError(401, "Invalid credentials")
        now = time.time()
        claims = json.dumps({"sub": "1", "iat": now, "nbf": now, "exp": now + self.token_life})
        token = f"{_base64('{}')}.{_base64(claims)}.{self._secret}"
        return web.json_response({"access_token": token}, status=201)


def _base64(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
