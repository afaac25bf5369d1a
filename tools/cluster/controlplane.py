"""A control plane without nodes: processes of this user, on loopback, up in seconds."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import api, processes, toolchain
from .components import AUDIT_POLICY, Component, ControlPlane, kubeadm_config
from .errors import ClusterError, tail
from .paths import Layout
from .processes import Process
from .progress import Progress
from .record import Record

_SOCKET_PATH_LIMIT = 107


def up(layout: Layout, progress: Progress) -> Record:
    """Start etcd, the API server and the controller manager, and wait until they are ready.

    Raises:
        ClusterError: if a component fails; what was started is ended, its logs stay.
    """
    programs = toolchain.ensure(toolchain.NODE, progress)
    port, manager_port = api.free_ports(2)
    plane = ControlPlane(layout, programs, "127.0.0.1", port, manager_port)
    record = Record("control-plane", toolchain.KUBERNETES_VERSION, details={"url": plane.url})
    with progress.phase("Making certificates"):
        prepare(plane, "control-plane", ["localhost"], plane.users)
    try:
        with progress.phase("Starting etcd, API server and controller manager"):
            start(plane.etcd(), layout, record)
            _wait_for(layout, record, "etcd", (layout.root / "etcd.sock").exists)
            start(plane.api_server(), layout, record)
            wait_ready(plane, record)
            start(plane.controller_manager(), layout, record)
            url = f"https://127.0.0.1:{manager_port}/healthz"
            _wait_for(layout, record, "kube-controller-manager", lambda: api.healthy(url))
            wait_default_account(plane)
        record.ready = True
        record.save(layout)
    except BaseException:
        processes.stop(record.processes)
        raise
    return record


def down(record: Record) -> None:
    """End the control plane's processes."""
    processes.stop(record.processes)


def prepare(
    plane: ControlPlane, node_name: str, names: Sequence[str], users: Mapping[str, tuple[str, str]]
) -> None:
    """Make certificates, kubeconfigs and the audit policy.

    Args:
        plane: the control plane.
        node_name: the node's name.
        names: further names and addresses for the API server's certificate.
        users: the kubeconfigs to make: for each file a user and a group ("" for none).
    """
    layout = plane.layout
    longest = len(os.fsencode(layout.root / "peer.sock"))
    if longest > _SOCKET_PATH_LIMIT:
        raise ClusterError(
            f"{layout.root} is too long a path for a socket ({longest} of {_SOCKET_PATH_LIMIT} bytes): "
            "set XDG_STATE_HOME to a shorter one"
        )
    layout.audit_log.parent.mkdir(parents=True, exist_ok=True)
    layout.logs.mkdir(parents=True, exist_ok=True)
    (layout.root / "audit-policy.json").write_text(json.dumps(AUDIT_POLICY))
    config = layout.root / "kubeadm.json"
    config.write_text(kubeadm_config(plane, toolchain.KUBERNETES_VERSION, node_name, names))
    kubeadm = str(plane.programs / "kubeadm")
    log = layout.log("kubeadm")
    processes.run(
        [kubeadm, "init", "phase", "certs", "all", "--config", str(config)], log=log, what="kubeadm"
    )

    def make(file: str, user: str, group: str) -> None:
        command = [kubeadm, "kubeconfig", "user", "--config", str(config), "--client-name", user]
        made = processes.run([*command, *(["--org", group] if group else [])], what="kubeadm kubeconfig")
        path = layout.root / file
        path.touch(mode=0o600)
        path.write_text(made)

    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda item: make(item[0], *item[1]), users.items()))


def start(component: Component, layout: Layout, record: Record) -> Process:
    """Start a component and remember it."""
    process = processes.spawn(component.name, component.argv, layout.log(component.name), cwd=layout.root)
    record.processes.append(process)
    record.save(layout)
    return process


def wait_ready(plane: ControlPlane, record: Record, seconds: float = 180) -> None:
    """Wait until the API server is ready."""
    ca = plane.layout.pki / "ca.crt"
    _wait_for(
        plane.layout,
        record,
        "kube-apiserver",
        lambda: api.healthy(f"{plane.url}/readyz", ca),
        seconds=seconds,
    )


def wait_default_account(plane: ControlPlane) -> None:
    """Wait until the controllers work: namespaces get their service account."""
    kubectl = kubectl_of(plane.layout, plane.programs)
    if not api.wait(lambda: bool(kubectl.get("serviceaccount", "default")), 180, lambda: None):
        log = plane.layout.log("kube-controller-manager")
        raise ClusterError(f"the controller manager made no service account within 180 s:\n{tail(log)}")


def kubectl_of(layout: Layout, programs: Path) -> api.Kubectl:
    """Return a kubectl of the same version as the cluster."""
    return api.Kubectl(str(programs / "kubectl"), layout.kubeconfig)


def _wait_for(layout: Layout, record: Record, name: str, ready: api.Ready, seconds: float = 180) -> None:
    def failed() -> None:
        for process in record.processes:
            if not process.alive():
                raise ClusterError(f"{process.name} ended:\n{tail(layout.log(process.name))}")

    if not api.wait(ready, seconds, failed):
        raise ClusterError(f"{name} is not ready after {seconds:.0f} s:\n{tail(layout.log(name))}")
