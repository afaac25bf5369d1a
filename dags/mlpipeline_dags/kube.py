"""The few reads of the Kubernetes API that Airflow's pods need, over one kept connection.

Raw HTTP on purpose: importing the ``kubernetes`` client costs a worker most of a second before its task
starts, and all that is needed here is ``GET`` with the pod's own service account.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT_SECONDS = 10.0


class KubernetesError(Exception):
    """The API server could not be asked, or said no.

    Args:
        message: What was asked, and the answer.
        status: HTTP status; 0 if there was no answer.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Cluster:
    """Reads from the API server as the pod's service account.

    Args:
        account: Folder with ``token``, ``ca.crt`` and ``namespace``; the pod's own by default. The token is
            read anew for each request, since it rotates.
        host: Name or address of the API server; from the pod's environment by default.
        port: Its port; likewise.
    """

    def __init__(self, account: Path | None = None, host: str | None = None, port: int | None = None) -> None:
        self._account = account or SERVICE_ACCOUNT
        self._host = host or os.environ.get("KUBERNETES_SERVICE_HOST", "")
        self._port = port or int(os.environ.get("KUBERNETES_SERVICE_PORT", "443"))
        self._connection: http.client.HTTPSConnection | None = None

    @property
    def namespace(self) -> str:
        """The pod's namespace.

        Raises:
            KubernetesError: There is no service account (not in a pod, or its token is not mounted).
        """
        try:
            return (self._account / "namespace").read_text().strip()
        except OSError as error:
            raise KubernetesError(f"no service account in {self._account}: {error}") from error

    def config_map(self, namespace: str, name: str) -> dict[str, str] | None:
        """Return the ``data`` of a ConfigMap, or None if there is no such ConfigMap.

        Raises:
            KubernetesError: Any other answer, or none.
        """
        try:
            body = self._get(f"/api/v1/namespaces/{quote(namespace)}/configmaps/{quote(name)}")
        except KubernetesError as error:
            if error.status == 404:
                return None
            raise
        data: dict[str, str] = json.loads(body).get("data") or {}
        return data

    def pods(self, namespace: str, labels: dict[str, str]) -> list[dict[str, Any]]:
        """Return the pods that carry ``labels``, oldest first."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        body = self._get(
            f"/api/v1/namespaces/{quote(namespace)}/pods?{urlencode({'labelSelector': selector})}"
        )
        items: list[dict[str, Any]] = json.loads(body)["items"]
        return sorted(items, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))

    def pod_log(self, namespace: str, pod: str, container: str) -> Iterator[str]:
        """Yield the lines of a container's log, without their line ends."""
        query = urlencode({"container": container})
        body = self._get(f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}/log?{query}")
        yield from body.decode(errors="replace").splitlines()

    def _get(self, path: str) -> bytes:
        reused = self._connection is not None
        try:
            return self._request(path)
        except (http.client.HTTPException, OSError) as error:
            self._connection = None
            if reused:  # closed by the server while idle, most likely: once more on a new connection
                return self._get(path)
            raise KubernetesError(f"GET {path}: {error or type(error).__name__}") from error

    def _request(self, path: str) -> bytes:
        try:
            token = (self._account / "token").read_text().strip()
        except OSError as error:
            raise KubernetesError(f"no service account token in {self._account}: {error}") from error
        if self._connection is None:
            context = ssl.create_default_context(cafile=str(self._account / "ca.crt"))
            self._connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=TIMEOUT_SECONDS, context=context
            )
        self._connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        response = self._connection.getresponse()
        body = response.read()
        if response.status != http.HTTPStatus.OK:
            raise KubernetesError(f"GET {path}: {response.status} {_message(body)}", response.status)
        return body


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")
