"""What the operator makes of an API server that refuses, is busy, is slow, or breaks off: over real HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from mlpipeline_operator import cluster as module
from mlpipeline_operator.cluster import Cluster, ConflictError, ExpiredError, MissingError
from mlpipeline_operator.errors import NotReadyError, OperatorError, SpecError, TransientError

Body = dict[str, Any]
Act = Callable[[web.Request], Awaitable[web.StreamResponse]]

MANIFEST: Body = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "digits", "namespace": "research"},
    "data": {"text": "x"},
}


class Server:
    """Answers each request with the next of ``acts``, the last one for ever; keeps what it was asked."""

    def __init__(self, *acts: Act) -> None:
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self._acts = list(acts)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path, dict(request.query)))
        act = self._acts.pop(0) if len(self._acts) > 1 else self._acts[0]
        return await act(request)


def status(code: int, message: str = "words", headers: dict[str, str] | None = None, **fields: Any) -> Act:
    """A ``metav1.Status``, as the API server refuses."""
    body = {"kind": "Status", "status": "Failure", "code": code, "message": message, **fields}

    async def act(request: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=code, headers=headers)

    return act


def answer(body: Body) -> Act:
    async def act(request: web.Request) -> web.StreamResponse:
        return web.json_response(body)

    return act


def text(code: int, words: str) -> Act:
    """What a proxy in between says."""

    async def act(request: web.Request) -> web.StreamResponse:
        return web.Response(text=words, status=code, content_type="text/html")

    return act


async def reset(request: web.Request) -> web.StreamResponse:
    """The connection breaks off in the middle of the answer."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"kind":')
    assert request.transport is not None
    request.transport.abort()
    return response


async def silence(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


@asynccontextmanager
async def connected(server: Server, **options: Any) -> AsyncIterator[Cluster]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    configuration = Configuration()
    configuration.host = f"http://127.0.0.1:{runner.addresses[0][1]}"
    cluster = Cluster(ApiClient(configuration), **options)
    try:
        yield cluster
    finally:
        await cluster.close()
        await runner.cleanup()


async def error_of(*acts: Act) -> tuple[OperatorError, Server]:
    server = Server(*acts)
    async with connected(server) as cluster:
        with pytest.raises(OperatorError) as caught:
            await cluster.apply(MANIFEST)
    return caught.value, server


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"Retry-After": "7"}, 7.0), ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, None), ({}, None)],
)
async def test_a_busy_server_says_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    error, _ = await error_of(status(429, "too many requests", headers, reason="TooManyRequests"))
    assert isinstance(error, TransientError)
    assert (error.reason, error.retry_after) == ("TooManyRequests", seconds)


@pytest.mark.parametrize("code", [500, 502, 503, 504])
async def test_a_server_in_trouble_is_tried_again(code: int) -> None:
    error, server = await error_of(status(code, "etcdserver: request timed out"))
    assert isinstance(error, TransientError)
    assert error.message == "etcdserver: request timed out"
    assert len(server.requests) == 1, "the queue tries again, with its backoff, and nobody else"


@pytest.mark.parametrize("code", [401, 403])
async def test_rights_may_still_come(code: int) -> None:
    error, _ = await error_of(status(code, "forbidden: User cannot patch"))
    assert isinstance(error, TransientError)


async def test_what_a_proxy_says_is_no_json_and_no_crash() -> None:
    error, _ = await error_of(text(502, "<html>bad gateway</html>"))
    assert isinstance(error, TransientError)
    assert "bad gateway" in error.message


async def test_a_connection_that_breaks_off_in_the_answer_is_tried_again() -> None:
    error, _ = await error_of(reset)
    assert isinstance(error, TransientError)
    assert error.reason == "ApiServerUnreachable"


async def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TIMEOUT_SECONDS", 0.2)
    error, _ = await error_of(silence)
    assert isinstance(error, TransientError)
    assert error.message, "an empty TimeoutError still says what it is"


async def test_a_server_that_is_not_there_is_tried_again() -> None:
    configuration = Configuration()
    configuration.host = "http://127.0.0.1:1"
    cluster = Cluster(ApiClient(configuration))
    with pytest.raises(TransientError) as caught:
        await cluster.get("ConfigMap", "research", "digits")
    assert caught.value.reason == "ApiServerUnreachable"
    await cluster.close()


async def test_what_it_says_after_trouble_is_taken() -> None:
    server = Server(status(503), reset, answer(MANIFEST))
    async with connected(server) as cluster:
        for _ in range(2):
            with pytest.raises(TransientError):
                await cluster.apply(MANIFEST)
        assert await cluster.apply(MANIFEST) == MANIFEST
    assert (
        server.requests
        == [
            (
                "PATCH",
                "/api/v1/namespaces/research/configmaps/digits",
                {"fieldManager": "mlpipeline-operator", "force": "true"},
            )
        ]
        * 3
    )


@pytest.mark.parametrize("code", [400, 405, 413, 422])
async def test_what_it_refuses_for_good_waits_for_an_edit(code: int) -> None:
    error, _ = await error_of(status(code, "spec.x: Invalid value", reason="Invalid"))
    assert isinstance(error, SpecError)
    assert (error.reason, error.message) == ("Invalid", "spec.x: Invalid value")


async def test_a_namespace_on_its_way_out_and_a_quota_are_no_errors_of_ours() -> None:
    causes = {"causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]}
    error, _ = await error_of(status(403, "being terminated", details=causes))
    assert isinstance(error, NotReadyError)
    assert error.reason == "NamespaceTerminating"
    error, _ = await error_of(status(403, "exceeded quota: small"))
    assert isinstance(error, NotReadyError)
    assert error.reason == "QuotaExceeded"


async def test_who_wrote_first_is_a_conflict_and_what_is_gone_is_missing() -> None:
    assert isinstance((await error_of(status(409)))[0], ConflictError)
    assert isinstance((await error_of(status(404)))[0], MissingError)


async def test_creating_what_is_there_and_deleting_what_is_not_do_nothing() -> None:
    async with connected(Server(status(409, reason="AlreadyExists"))) as cluster:
        assert await cluster.create(MANIFEST) is None
    async with connected(Server(status(404))) as cluster:
        await cluster.delete("ConfigMap", "research", "digits")
        await cluster.merge_metadata("ConfigMap", "research", "digits", {"finalizers": []})
        assert await cluster.namespace_is_going("research")
        assert not await cluster.is_served("mlpipelines.dev/v1alpha1")


async def test_who_does_not_lead_asks_and_does_not_write() -> None:
    server = Server(answer(MANIFEST))
    async with connected(server, may_write=lambda: False) as cluster:
        assert await cluster.get("ConfigMap", "research", "digits") == MANIFEST
        with pytest.raises(TransientError, match="does not hold the lease"):
            await cluster.apply(MANIFEST)
    assert [method for method, _, _ in server.requests] == ["GET"]


async def test_an_answer_that_is_cut_off_json_is_tried_again() -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        return web.Response(text=json.dumps(MANIFEST)[:-5], content_type="application/json")

    error, _ = await error_of(cut)
    assert isinstance(error, TransientError)


def stream(*lines: Body, breaks_off: bool = False) -> Act:
    """A watch that shows these, and ends, or breaks off."""

    async def act(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for line in lines:
            await response.write(json.dumps(line).encode() + b"\n")
        if breaks_off:
            assert request.transport is not None
            request.transport.abort()
        return response

    return act


def change(kind: str, version: int) -> Body:
    metadata = {"name": "code", "namespace": "team", "resourceVersion": str(version)}
    return {"type": kind, "object": {"kind": "PartialObjectMetadata", "metadata": metadata}}


async def watched(server: Server) -> list[tuple[str, str]]:
    async with connected(server) as cluster:
        watch = cluster.watch_metadata("ConfigMap", "team", "7")
        return [(kind, body["metadata"]["resourceVersion"]) async for kind, body in watch]


async def test_a_watch_tells_each_change_and_ends_as_the_server_likes() -> None:
    server = Server(stream(change("ADDED", 8), change("BOOKMARK", 9), change("DELETED", 10)))
    assert await watched(server) == [("ADDED", "8"), ("BOOKMARK", "9"), ("DELETED", "10")]
    ((method, path, query),) = server.requests
    assert (method, path) == ("GET", "/api/v1/namespaces/team/configmaps")
    assert (query["watch"], query["resourceVersion"]) == ("true", "7")


@pytest.mark.parametrize(
    "act",
    [
        status(410, "too old resource version", reason="Expired"),
        stream({"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}}),
    ],
)
async def test_a_watch_from_too_long_ago_says_so(act: Act) -> None:
    with pytest.raises(ExpiredError):
        await watched(Server(act))


async def test_a_watch_that_breaks_off_is_tried_again() -> None:
    with pytest.raises(TransientError, match="broke off") as caught:
        await watched(Server(stream(change("ADDED", 8), breaks_off=True)))
    assert not isinstance(caught.value, ExpiredError)
