"""The API server, as a user of it: quick calls under a name of our own in the audit log."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import urllib3
import yaml

from mlpipeline_operator.kinds import KINDS

Body = dict[str, Any]


class ApiError(Exception):
    """The API server refused."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Api:
    """Calls with the administrator's certificate from a kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        self._scratch = tempfile.TemporaryDirectory()
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.server: str = cluster["server"]
        self.ca_data: str = cluster["certificate-authority-data"]
        self._pool = urllib3.PoolManager(
            ca_certs=self._file("ca", self.ca_data),
            cert_file=self._file("cert", user["client-certificate-data"]),
            key_file=self._file("key", user["client-key-data"]),
            headers={"User-Agent": "test"},
            maxsize=16,
        )

    def close(self) -> None:
        self._pool.clear()
        self._scratch.cleanup()

    def get(self, kind: str, namespace: str, name: str) -> Body | None:
        try:
            return self.call("GET", KINDS[kind].path(namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(self, kind: str, namespace: str, selector: str = "") -> list[Body]:
        path = KINDS[kind].path(namespace) + (f"?labelSelector={selector}" if selector else "")
        found: list[Body] = self.call("GET", path)["items"]
        return found

    def create(self, manifest: Body) -> Body:
        return self.call("POST", KINDS[manifest["kind"]].path(manifest["metadata"]["namespace"]), manifest)

    def apply(self, manifest: Body) -> Body:
        metadata = manifest["metadata"]
        path = KINDS[manifest["kind"]].path(metadata["namespace"], metadata["name"])
        query = "?fieldManager=somebody&force=true"
        return self.call("PATCH", path + query, manifest, "application/apply-patch+yaml")

    def merge(
        self, kind: str, namespace: str, name: str, patch: Mapping[str, Any], subresource: str | None = None
    ) -> Body:
        path = KINDS[kind].path(namespace, name, subresource)
        return self.call("PATCH", path, patch, "application/merge-patch+json")

    def delete(self, kind: str, namespace: str, name: str) -> None:
        try:
            self.call("DELETE", KINDS[kind].path(namespace, name), {"propagationPolicy": "Background"})
        except ApiError as error:
            if error.status != 404:
                raise

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> Body:
        response = self._pool.request(
            method,
            self.server + path,
            body=None if body is None else json.dumps(body),
            headers={"User-Agent": "test", "Content-Type": content_type},
            retries=False,
            timeout=30,
        )
        answer: Body = json.loads(response.data)
        if response.status >= 400:
            raise ApiError(response.status, answer.get("message", ""))
        return answer

    def _file(self, name: str, data: str) -> str:
        path = Path(self._scratch.name, name)
        path.touch(mode=0o600)
        path.write_bytes(base64.b64decode(data))
        return str(path)
