"""Many clients at once that create objects, and the rate at which the API server lets them."""

from __future__ import annotations

import asyncio
import base64
import ssl
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import yaml

Body = Mapping[str, Any]


class Client:
    """A client with the administrator's certificate; an asynchronous context manager."""

    def __init__(self, kubeconfig: Path) -> None:
        """Take address and certificates from ``kubeconfig``."""
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._server: str = cluster["server"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._tls = ssl.create_default_context(cadata=authority)
        with tempfile.NamedTemporaryFile() as file:
            for key in ("client-certificate-data", "client-key-data"):
                file.write(base64.b64decode(user[key]))
            file.flush()
            self._tls.load_cert_chain(file.name)

    async def __aenter__(self) -> Client:
        """Open the connections."""
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=64)
        self._session = aiohttp.ClientSession(connector=connector, headers={"User-Agent": "bench"})
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close them."""
        await self._session.close()

    async def post(self, path: str, body: Body) -> None:
        """Create an object."""
        async with self._session.post(self._server + path, json=body) as answer:
            if answer.status >= 300:
                raise RuntimeError(f"POST {path}: {answer.status} {await answer.text()}")
            await answer.read()

    async def get(self, path: str) -> Any:
        """Read an object or a whole collection."""
        async with self._session.get(self._server + path) as answer:
            if answer.status >= 300:
                raise RuntimeError(f"GET {path}: {answer.status} {await answer.text()}")
            return await answer.json()

    async def count(self, path: str, selector: str = "") -> int:
        """Count the objects of a collection without fetching more than one."""
        query = {"limit": "1", "labelSelector": selector} if selector else {"limit": "1"}
        if selector:
            # The API server does not say how many more there are where a selector narrows them.
            del query["limit"]
        headers = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
        async with self._session.get(self._server + path, params=query, headers=headers) as answer:
            found = await answer.json()
        return len(found["items"]) + int(found["metadata"].get("remainingItemCount") or 0)

    async def create(self, path: str, bodies: Iterable[Body], clients: int) -> float:
        """Create objects by so many clients at once; returns the seconds that it took."""
        rest: Iterator[Body] = iter(bodies)

        async def work() -> None:
            for body in rest:
                await self.post(path, body)

        started = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(work())
        return time.monotonic() - started
