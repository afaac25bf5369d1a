"""Small questions to the API server and its peers, without a client library."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import ClusterError
from .processes import run

Ready = Callable[[], bool]


def healthy(url: str, ca: Path | None = None) -> bool:
    """Tell whether ``url`` answers 200; without ``ca`` the certificate is not looked at."""
    context = ssl.create_default_context(cafile=str(ca)) if ca else ssl._create_unverified_context()
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(url, timeout=3) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that are free now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def wait(ready: Ready, seconds: float, failed: Callable[[], None], interval: float = 0.1) -> bool:
    """Poll ``ready`` until it is true or ``seconds`` have passed; ``failed`` may raise in between."""
    deadline = time.monotonic() + seconds
    while not ready():
        failed()
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True


class Kubectl:
    """kubectl, bound to one cluster's kubeconfig."""

    def __init__(self, program: str, kubeconfig: Path) -> None:
        """Bind ``program`` to ``kubeconfig``."""
        cache = kubeconfig.with_name("kubectl-cache")
        self._command = [program, f"--kubeconfig={kubeconfig}", f"--cache-dir={cache}"]

    def __call__(self, *arguments: str) -> str:
        """Run kubectl and return its standard output.

        Raises:
            ClusterError: if it fails.
        """
        return run([*self._command, *arguments], env=_direct(), what="kubectl " + " ".join(arguments[:2]))

    def get(self, *arguments: str) -> dict[str, Any]:
        """Return an object, {} where there is none."""
        try:
            found: dict[str, Any] = json.loads(self("get", *arguments, "-o", "json"))
        except ClusterError:
            return {}
        return found

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply objects on the server's side."""
        document = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        done = subprocess.run(
            [*self._command, "apply", "--server-side", "--force-conflicts", "-f", "-"],
            input=document,
            capture_output=True,
            text=True,
            env=_direct(),
        )
        if done.returncode:
            raise ClusterError(f"kubectl apply failed:\n  {done.stderr.strip()}")


def _direct() -> dict[str, str]:
    """Return the environment without any proxy: the API server is on this machine."""
    return {**os.environ, "NO_PROXY": "*", "no_proxy": "*"}


def kubectl_path(built: Path | None) -> str:
    """Return the kubectl to use: the user's own, else the one among the ``built`` programs.

    Raises:
        ClusterError: if there is neither.
    """
    found = shutil.which("kubectl")
    if found:
        return found
    if built is not None and (built / "kubectl").exists():
        return str(built / "kubectl")
    raise ClusterError(
        "there is no kubectl on PATH, and none was built yet: run `python3 -m tools.cluster up`"
    )
