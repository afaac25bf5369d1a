"""kubectl, bound to one of our own clusters: what the demo and the tests talk to the API server with."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.cluster import api, lifecycle
from tools.cluster.paths import Layout

__all__ = ["Kube", "KubeError", "Object"]

Object = dict[str, Any]


class KubeError(Exception):
    """kubectl failed; the message is what it wrote to standard error."""


class Kube:
    """kubectl on the cluster that ``layout`` describes, and on no other.

    The kubeconfig is always named, so that neither ``$KUBECONFIG`` nor the user's own file is looked at.
    """

    def __init__(self, layout: Layout) -> None:
        """Bind to the cluster; it need not be up yet."""
        self.kubeconfig: Path = layout.kubeconfig
        self.audit_log: Path = layout.audit_log
        self.program = api.kubectl_path(lifecycle.programs())

    def command(self, *arguments: str) -> list[str]:
        """Return the command line that runs kubectl with ``arguments`` on this cluster."""
        return [self.program, f"--kubeconfig={self.kubeconfig}", *arguments]

    def run(self, *arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
        """Run kubectl and return what it wrote to standard output.

        Raises:
            KubeError: It ended with an error, or took longer than ``timeout`` seconds.
        """
        try:
            done = subprocess.run(
                self.command(*arguments),
                input=stdin or "",
                capture_output=True,
                text=True,
                check=False,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired as error:
            raise KubeError(f"kubectl {' '.join(arguments)}: no end after {timeout:.0f} s") from error
        if done.returncode:
            raise KubeError(done.stderr.strip())
        return done.stdout

    def get(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """Return an object, ``None`` where there is none of that name."""
        text = self.run("get", kind, name, *_in(namespace), "--ignore-not-found", "--output=json")
        found: Object | None = json.loads(text) if text.strip() else None
        return found

    def list(self, kind: str, namespace: str = "", selector: str = "") -> list[Object]:
        """Return the objects of a kind, of one namespace or of all."""
        where = _in(namespace) or ["--all-namespaces"]
        labels = [f"--selector={selector}"] if selector else []
        items: list[Object] = json.loads(self.run("get", kind, *where, *labels, "--output=json"))["items"]
        return items

    def apply(self, *objects: Mapping[str, Any], namespace: str = "") -> str:
        """Apply objects on the server's side and return kubectl's words."""
        document = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        return self.run("apply", "--server-side", *_in(namespace), "--filename=-", stdin=document)

    def delete(self, kind: str, name: str, namespace: str = "", *, wait: float = 0) -> None:
        """Delete an object, if it is there; with ``wait`` (seconds), return only when it is gone."""
        how = [f"--timeout={wait:.0f}s"] if wait else ["--wait=false"]
        self.run("delete", kind, name, *_in(namespace), "--ignore-not-found", *how, timeout=wait + 60)


def _in(namespace: str) -> list[str]:
    return [f"--namespace={namespace}"] if namespace else []
