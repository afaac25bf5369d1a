"""What a test has go wrong at the fake Airflow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

__all__ = ["Faults", "Handler"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Fault:
    matches: Callable[[web.Request], bool]
    act: Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]
    times: float


class Faults:
    """The faults that wait for their request."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def fail(self, status: int, path: str = "", *, times: float = 1, **headers: str) -> None:
        """Answer the next requests whose path holds ``path`` so; ``Retry_After="3"`` makes a header."""

        async def act(request: web.Request, handler: Handler) -> web.StreamResponse:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            return web.json_response({"detail": f"made to fail with {status}"}, status=status, headers=names)

        self._faults.append(Fault(lambda request: path in request.path, act, times))

    def slow(self, seconds: float, path: str = "", *, times: float = 1) -> None:
        """Take so long over the next requests whose path holds ``path``."""

        async def act(request: web.Request, handler: Handler) -> web.StreamResponse:
            await asyncio.sleep(seconds)
            return await handler(request)

        self._faults.append(Fault(lambda request: path in request.path, act, times))

    def lose_answer(self, method: str, path: str = "", *, times: float = 1) -> None:
        """Do what the next such requests ask for, and close the connection instead of answering."""

        async def act(request: web.Request, handler: Handler) -> web.StreamResponse:
            response = await handler(request)
            if request.transport is not None:
                request.transport.close()
            return response

        self._faults.append(
            Fault(lambda request: request.method == method and path in request.path, act, times)
        )

    def mend(self) -> None:
        """Forget all faults."""
        self._faults.clear()

    async def apply(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request, as the first fault that matches has it."""
        fault = next((fault for fault in self._faults if fault.matches(request)), None)
        if fault is None:
            return await handler(request)
        fault.times -= 1
        if fault.times <= 0:
            self._faults.remove(fault)
        return await fault.act(request, handler)
