"""A real API server (with etcd and the controller manager, without nodes) that holds our CRDs."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tools.cluster import lifecycle
from tools.cluster.paths import REPOSITORY, Layout
from tools.cluster.progress import Progress
from tools.demo.kube import Kube, KubeError

_KINDS = ("airflows", "mlpipelineruns", "mlpipelines")


@dataclass(frozen=True)
class Call:
    """One request that the API server has answered, as its audit log has it."""

    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    user_agent: str
    status: int

    @property
    def is_write(self) -> bool:
        return self.verb in {"create", "update", "patch", "delete", "deletecollection"}


class Audit:
    """What the API server was asked since a moment, by one client."""

    def __init__(self, log: Path, user_agent: str) -> None:
        self._log = log
        self._user_agent = user_agent
        self._start = log.stat().st_size

    def restart(self) -> None:
        """Forget all calls until now."""
        self._start = self._log.stat().st_size

    def calls(self, **fields: str) -> list[Call]:
        """Return the calls so far, those whose ``fields`` are as given; a watch counts when it begins."""
        with self._log.open("rb") as file:
            file.seek(self._start)
            # The last line may be half written.
            lines = file.read().split(b"\n")[:-1]
        calls = [call for line in lines if (call := self._call(json.loads(line))) is not None]
        return [call for call in calls if all(getattr(call, key) == value for key, value in fields.items())]

    def writes(self, **fields: str) -> list[Call]:
        """Return those of ``calls`` that write."""
        return [call for call in self.calls(**fields) if call.is_write]

    def reads(self, **fields: str) -> list[Call]:
        """Return those of ``calls`` that read, other than watches."""
        return [call for call in self.calls(**fields) if call.verb in {"get", "list"}]

    def _call(self, event: Mapping[str, Any]) -> Call | None:
        ended = "ResponseStarted" if event["verb"] == "watch" else "ResponseComplete"
        if event["stage"] != ended or not event.get("userAgent", "").startswith(self._user_agent):
            return None
        target = event.get("objectRef") or {}
        return Call(
            verb=event["verb"],
            resource=target.get("resource", ""),
            subresource=target.get("subresource", ""),
            namespace=target.get("namespace", ""),
            name=target.get("name", ""),
            user_agent=event["userAgent"],
            status=event.get("responseStatus", {}).get("code", 0),
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folder = Path(__file__).parent
    for item in items:
        if folder in item.path.parents:
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def api_server(uncaptured: Callable[[], AbstractContextManager[None]]) -> Iterator[Kube]:
    """A control plane of the session's own, with our CRDs established."""
    layout = Layout(f"mlp-test-{secrets.token_hex(3)}")
    progress = Progress("integration")
    with uncaptured():
        lifecycle.up(layout, progress, control_plane_only=True)
    try:
        kube = Kube(layout)
        kube.run("apply", "--server-side", f"--kustomize={REPOSITORY / 'crds'}")
        names = [f"crd/{kind}.mlpipelines.dev" for kind in _KINDS]
        kube.run("wait", "--for=condition=Established", "--timeout=30s", *names)
        yield kube
    finally:
        lifecycle.down(layout, progress)


@pytest.fixture
def namespace(api_server: Kube) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"test-{secrets.token_hex(4)}"
    api_server.run("create", "namespace", name)
    yield name
    api_server.delete("namespace", name)


@pytest.fixture
def audit(api_server: Kube) -> Callable[[str], Audit]:
    """Count what a client asks of the API server from now on: ``audit("mlpipeline-operator")``."""

    def start(user_agent: str) -> Audit:
        return Audit(api_server.audit_log, user_agent)

    return start


@pytest.fixture
def rejected(api_server: Kube, namespace: str) -> Callable[[Mapping[str, Any]], str]:
    """Apply a manifest that must be refused and return the message that its author gets."""

    def message(manifest: Mapping[str, Any]) -> str:
        with pytest.raises(KubeError) as caught:
            api_server.apply(manifest, namespace=namespace)
        return str(caught.value)

    return message
