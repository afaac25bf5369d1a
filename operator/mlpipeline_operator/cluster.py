"""The one module that talks to the Kubernetes API server (kopf does the watching).

Writes are server-side apply with one field owner, of only the fields that we own. The calls go through the
transport of ``kubernetes.aio`` with paths of our own (see ``kinds``): the dynamic client would first read the
whole discovery, and the typed one would build thousands of model objects for what is a dict on both ends.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any
from urllib.parse import urlencode
from urllib.request import getproxies_environment

import aiohttp
from kubernetes.aio import config as kubeconfig
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from mlpipeline_operator.errors import NotReadyError, OperatorError, SpecError, TransientError
from mlpipeline_operator.instruments import API_CALLS
from mlpipeline_operator.kinds import KINDS, kind_of
from mlpipeline_operator.names import FIELD_MANAGER

__all__ = ["Cluster", "ConflictError", "ExpiredError", "Manifest", "MissingError"]

Manifest = dict[str, Any]
Manifests = list[Manifest]

_TIMEOUT_SECONDS = 30
_PAGE = 500
_APPLY = "application/apply-patch+yaml"
# The server ends a watch after so long; ours waits a little longer, for one that is dead.
_WATCH_SECONDS = 300
_METADATA = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"


class MissingError(OperatorError):
    """The object is not there (404)."""

    reason = "NotFound"


class ConflictError(TransientError):
    """Somebody else wrote first, or the object exists already (409)."""

    reason = "Conflict"


class ExpiredError(TransientError):
    """A watch cannot go on from where it was (410): list anew."""

    reason = "Expired"


class Cluster:
    """A connection to one API server.

    Args:
        client: The transport, already configured; see ``connect``.
        may_write: Asked before each write; a replica that is not, or no longer, the leader writes nothing.
    """

    def __init__(self, client: ApiClient, *, may_write: Callable[[], bool] = lambda: True) -> None:
        self._client = client
        self._may_write = may_write

    def guarded(self, may_write: Callable[[], bool]) -> Cluster:
        """The same connection, asking ``may_write`` before each write."""
        return Cluster(self._client, may_write=may_write)

    @classmethod
    async def connect(cls) -> Cluster:
        """Connect with the pod's service account, else with the file that ``$KUBECONFIG`` names."""
        configuration = Configuration()
        if os.environ.get("KUBERNETES_SERVICE_HOST") and not os.environ.get("KUBECONFIG"):
            kubeconfig.load_incluster_config(client_configuration=configuration)
        else:
            await kubeconfig.load_kube_config(client_configuration=configuration)
        # Where no proxy is named, aiohttp would still ask two threads for one before each request.
        configuration.client_session_kwargs = {"trust_env": bool(getproxies_environment())}
        return cls(ApiClient(configuration))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply a manifest, taking over fields that others own; return the object as it is."""
        return await self._write("PATCH", _path(manifest), body=manifest, content_type=_APPLY, force=True)

    async def apply_status(self, manifest: Manifest) -> Manifest:
        """Server-side apply the ``status`` of an object (identity and status are all that it holds)."""
        path = _path(manifest, "status")
        return await self._write("PATCH", path, body=manifest, content_type=_APPLY, force=True)

    async def create(self, manifest: Manifest) -> Manifest | None:
        """Create an object and return it; ``None`` if one of that name is there (it is left as it is)."""
        path = kind_of(manifest).path(manifest["metadata"]["namespace"])
        try:
            return await self._write("POST", path, body=manifest)
        except ConflictError:
            return None

    async def try_create(self, manifest: Manifest) -> None:
        """Ask whether an object could be created now; raises what a creation would."""
        path = kind_of(manifest).path(manifest["metadata"]["namespace"])
        await self._call("POST", path, body=manifest, query={"dryRun": "All", "fieldManager": FIELD_MANAGER})

    async def is_served(self, api_version: str) -> bool:
        """Whether the API server serves a group and version (``group/version``)."""
        try:
            await self._call("GET", f"/apis/{api_version}")
        except MissingError:
            return False
        return True

    async def replace(self, manifest: Manifest) -> Manifest:
        """Replace an object at its ``resourceVersion``; ``ConflictError`` if it changed since."""
        return await self._write("PUT", _path(manifest), body=manifest)

    async def get(self, kind: str, namespace: str, name: str) -> Manifest:
        """Read one object; ``MissingError`` if it is not there."""
        return await self._call("GET", KINDS[kind].path(namespace, name))

    async def list(self, kind: str, namespace: str | None, selector: str = "") -> list[Manifest]:
        """Read all objects of a kind, of one namespace or of all, whose labels match ``selector``."""
        served = KINDS[kind]
        query = {"limit": str(_PAGE)} | ({"labelSelector": selector} if selector else {})
        found: list[Manifest] = []
        while True:
            answer = await self._call("GET", served.collection(namespace), query=query)
            found += [{**item, "kind": kind, "apiVersion": served.api_version} for item in answer["items"]]
            query["continue"] = answer["metadata"].get("continue", "")
            if not query["continue"]:
                return found

    async def list_metadata(self, kind: str, namespace: str | None) -> tuple[Manifests, str]:
        """Read the metadata alone of all objects of a kind; return it and where a watch goes on from."""
        path = KINDS[kind].collection(namespace)
        found: Manifests = []
        query = {"limit": str(_PAGE)}
        while True:
            answer = await self._call("GET", path, query=query, accept=_METADATA.format("List"))
            found += answer["items"]
            query["continue"] = answer["metadata"].get("continue", "")
            if not query["continue"]:
                return found, answer["metadata"]["resourceVersion"]

    async def watch_metadata(
        self, kind: str, namespace: str | None, version: str
    ) -> AsyncGenerator[tuple[str, Manifest]]:
        """Yield type and object (its metadata alone) of each change since ``version``, bookmarks included.

        Ends after some minutes, as the server likes.

        Raises:
            ExpiredError: ``version`` is too old.
            TransientError: The API server did not answer, or broke off.
        """
        query = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(_WATCH_SECONDS)}
        path = f"{KINDS[kind].collection(namespace)}?{urlencode(query | {'resourceVersion': version})}"
        seconds = _WATCH_SECONDS + _TIMEOUT_SECONDS
        answer = await self._request("GET", path, accept=_METADATA.format(""), seconds=seconds)
        try:
            if answer.status >= 400:
                raise _error(answer.status, await answer.read(), None)
            async for line in answer.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise _error(event["object"].get("code", 500), json.dumps(event["object"]).encode(), None)
                yield event["type"], event["object"]
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            text = f"API server: a watch broke off ({str(error) or type(error).__name__})"
            raise TransientError(text, reason="ApiServerUnreachable") from error
        finally:
            answer.close()

    async def namespace_is_going(self, namespace: str) -> bool:
        """Whether the namespace is being deleted, or gone."""
        try:
            body = await self._call("GET", f"/api/v1/namespaces/{namespace}")
        except MissingError:
            return True
        return "deletionTimestamp" in body["metadata"]

    async def merge_metadata(
        self, kind: str, namespace: str, name: str, metadata: Mapping[str, Any]
    ) -> Manifest | None:
        """Merge-patch an object's metadata and return the object; ``None`` if it is gone."""
        content_type = "application/merge-patch+json"
        try:
            path = KINDS[kind].path(namespace, name)
            body = {"metadata": dict(metadata)}
            return await self._write("PATCH", path, body=body, content_type=content_type)
        except MissingError:
            return None

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        """Delete one object with what it owns, in the background; nothing happens if it is gone."""
        try:
            path = KINDS[kind].path(namespace, name)
            await self._write("DELETE", path, body={"propagationPolicy": "Background"})
        except MissingError:
            return

    async def _write(
        self,
        method: str,
        path: str,
        *,
        body: Manifest,
        content_type: str = "application/json",
        force: bool = False,
    ) -> Manifest:
        if not self._may_write():
            raise TransientError("this replica does not hold the lease", reason="NotLeading")
        query = {} if method == "DELETE" else {"fieldManager": FIELD_MANAGER}
        if force:
            query["force"] = "true"
        return await self._call(method, path, body=body, content_type=content_type, query=query)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: Manifest | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        query: Mapping[str, str] | None = None,
    ) -> Manifest:
        url = path + (f"?{urlencode(query)}" if query else "")
        response = await self._request(method, url, body=body, content_type=content_type, accept=accept)
        try:
            data = await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise _unreachable(error) from error
        if response.status >= 400:
            raise _error(response.status, data, response.headers.get("Retry-After"))
        try:
            result: Manifest = json.loads(data)
        except ValueError as error:
            text = f"API server: an answer that is no JSON ({error})"
            raise TransientError(text, reason="ApiServerError") from error
        return result

    async def _request(
        self,
        method: str,
        url: str,
        *,
        body: Manifest | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        seconds: float = _TIMEOUT_SECONDS,
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": accept, "Content-Type": content_type, "User-Agent": FIELD_MANAGER}
        configuration = self._client.configuration
        authorization = (await configuration.auth_settings()).get("BearerToken")
        if authorization is not None:
            headers["Authorization"] = authorization["value"]
        API_CALLS.labels(method).inc()
        try:
            answer = await self._client.rest_client.request(
                method, configuration.host + url, headers=headers, body=body, _request_timeout=seconds
            )
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise _unreachable(error) from error
        response: aiohttp.ClientResponse = answer.response
        return response


def _unreachable(error: Exception) -> TransientError:
    return TransientError(f"API server: {str(error) or type(error).__name__}", reason="ApiServerUnreachable")


def _path(manifest: Manifest, subresource: str | None = None) -> str:
    metadata = manifest["metadata"]
    return kind_of(manifest).path(metadata["namespace"], metadata["name"], subresource)


def _error(status: int, data: bytes, retry_after: str | None) -> OperatorError:
    """Map an API server's answer to the error whose type says what to do next."""
    try:
        body = json.loads(data)
        message, reason = body.get("message", ""), body.get("reason", "")
        causes = (body.get("details") or {}).get("causes") or []
    except (ValueError, AttributeError):
        message, reason, causes = data[:200].decode(errors="replace"), "", []
    if status == 404:
        return MissingError(message)
    if status == 410:
        return ExpiredError(message)
    if status == 409:
        return ConflictError(message)
    if status == 403 and any(cause.get("reason") == "NamespaceTerminating" for cause in causes):
        return NotReadyError(message, reason="NamespaceTerminating")
    if status == 403 and "exceeded quota" in message:
        return NotReadyError(message, reason="QuotaExceeded")
    if status == 429 or status >= 500 or status in (401, 403):
        seconds = float(retry_after) if retry_after and retry_after.isdigit() else None
        return TransientError(message, reason=reason or "ApiServerError", retry_after=seconds)
    return SpecError(message, reason=reason or "Rejected")
