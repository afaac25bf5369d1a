"""A node of real components in namespaces of its own: the host's side of it.

The first process inside is ``node.py``. Ending it ends everything; what the host keeps are an
empty cgroup and the state folder, and ``down`` removes those.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import api, cgroups, controlplane, nodeconfig, packages, pauseimage, processes, toolchain
from .components import Component, ControlPlane
from .errors import ClusterError, tail
from .nodeconfig import Node
from .paths import REPOSITORY, Layout
from .processes import Process
from .progress import Progress
from .record import Record

API_PORT = 6443
PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "iproute2": "ip",
    "nftables": "nft",
    "conntrack": "conntrack",
    "iptables": "iptables",
    "util-linux": "unshare",
    "mount": "mount",
}
_CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
_NAMESPACES = ("--net", "--mount", "--pid", "--uts", "--ipc", "--cgroup")


def up(layout: Layout, progress: Progress) -> Record:
    """Bring up a node and wait until it is ready.

    Raises:
        ClusterError: if something is missing or fails; what was started is ended, its logs stay.
    """
    packages.ensure(PACKAGES, progress)
    cni = _cni_folder(progress)
    programs = toolchain.ensure(toolchain.NODE, progress)
    pause = toolchain.ensure(toolchain.PAUSE, progress)
    record = Record("native", toolchain.KUBERNETES_VERSION)
    try:
        with progress.phase("Making certificates and configuration"):
            number = _link(record, layout)
            address, gateway = f"198.51.100.{4 * number + 2}", f"198.51.100.{4 * number + 1}"
            node = Node(
                layout,
                layout.name,
                address,
                gateway,
                record.details["interface"],
                programs,
                cni,
                _snapshotter(layout),
            )
            plane = ControlPlane(layout, programs, address, API_PORT, node=True)
            record.details["url"] = plane.url
            _configure(plane, node)
        with progress.phase("Starting the node"):
            _start(plane, node, layout, record)
            controlplane.wait_ready(plane, record)
        kubectl = controlplane.kubectl_of(layout, programs)
        with progress.phase("Waiting for the node, DNS and storage"):
            _import_pause(layout, record, pause)
            controlplane.wait_default_account(plane)
            kubectl.apply(*nodeconfig.addons(node))
            _wait_node(kubectl, node, record)
        record.ready = True
        record.save(layout)
    except BaseException:
        down(layout, record)
        raise
    return record


def down(layout: Layout, record: Record) -> None:
    """End the node and remove what it left on the host, but for the state folder."""
    inside = [child for process in record.processes for child in _children(process.pid) if process.alive()]
    processes.kill(record.processes)
    processes.wait_gone(inside)
    interface = record.details.get("interface")
    # Once it is gone, another cluster may have one of its name.
    if interface and _owner(interface) == _cgroup(layout):
        subprocess.run(["ip", "link", "delete", interface], capture_output=True)
    left = cgroups.remove(_cgroup(layout))
    if left:
        raise ClusterError(f"these cgroups could not be removed: {', '.join(map(str, left))}")


def enter(record: Record) -> list[str]:
    """Return the command prefix that runs a program inside the node.

    Raises:
        ClusterError: if the node does not run.
    """
    for process in record.processes:
        if process.alive() and (inside := _children(process.pid)):
            return ["nsenter", f"--target={inside[0].pid}", "--mount", "--net", "--pid", "--"]
    raise ClusterError("the node does not run: `python3 -m tools.cluster up` mends it")


def _cgroup(layout: Layout) -> str:
    return f"mlpipeline-{layout.name}"


def _cni_folder(progress: Progress) -> Path:
    def found() -> Path | None:
        return next((folder for folder in _CNI_FOLDERS if (folder / "ptp").exists()), None)

    if found() is None:
        packages.install(["containernetworking-plugins"], progress)
    folder = found()
    if folder is None:
        raise ClusterError(f"the CNI plugin ptp is in none of {', '.join(map(str, _CNI_FOLDERS))}")
    return folder


def _link(record: Record, layout: Layout) -> int:
    """Make the link between host and node, its host's end up; the first free number wins."""
    for number in range(64):
        interface = f"mlp{number}"
        done = subprocess.run(
            ["ip", "link", "add", interface, "type", "veth", "peer", "name", f"{interface}n"],
            capture_output=True,
            text=True,
        )
        if done.returncode == 0:
            record.details["interface"] = interface
            record.save(layout)
            processes.run(["ip", "link", "set", interface, "alias", _cgroup(layout)])
            processes.run(["ip", "address", "add", f"198.51.100.{4 * number + 1}/30", "dev", interface])
            processes.run(["ip", "link", "set", interface, "up"])
            return number
        if "exists" not in done.stderr:
            raise ClusterError(f"no virtual network interface can be made: {done.stderr.strip()}")
    raise ClusterError("64 clusters have their links on this machine already: take some down")


def _owner(interface: str) -> str:
    """Which cluster an interface of the host is of; empty where there is no such interface."""
    try:
        return Path(f"/sys/class/net/{interface}/ifalias").read_text().strip()
    except OSError:
        return ""


def _snapshotter(layout: Layout) -> str:
    """Return overlayfs where the state's file system can carry it (not, say, inside a container)."""
    base = layout.root / "overlay-test"
    paths = {name: base / name for name in ("lower", "upper", "work", "merged")}
    for path in paths.values():
        path.mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={paths['lower']},upperdir={paths['upper']},workdir={paths['work']}"
    script = f"mount -t overlay -o '{options}' overlay '{paths['merged']}'"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True)
    shutil.rmtree(base, ignore_errors=True)
    return "overlayfs" if done.returncode == 0 else "native"


def _configure(plane: ControlPlane, node: Node) -> None:
    layout = node.layout
    users = {**plane.users, **nodeconfig.users(node)}
    controlplane.prepare(plane, node.name, [node.name, "localhost", "127.0.0.1"], users)
    for name, text in nodeconfig.files(node).items():
        path = layout.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name in ("volumes", "kubelet", "pod-logs"):
        (layout.root / name).mkdir(exist_ok=True)


def _start(plane: ControlPlane, node: Node, layout: Layout, record: Record) -> None:
    program = packages.which("containerd")
    if program is None:
        raise ClusterError("containerd is not on PATH")
    then = [plane.controller_manager(), plane.scheduler(), *nodeconfig.components(node)]
    config = {
        "hostname": node.name,
        "address": node.address,
        "gateway": node.gateway,
        "apiServer": [plane.address, plane.port],
        "environment": _environment(),
        # Paths that the components insist on: each a folder of the cluster, or one in memory ("").
        "mounts": [
            ["", "/var/lib/cni"],
            ["", "/var/log/containers"],
            [node.path("kubelet"), "/var/lib/kubelet"],
            [node.path("pod-logs"), "/var/log/pods"],
        ],
        "first": _described(layout, [nodeconfig.containerd(node, program), plane.etcd(), plane.api_server()]),
        "then": _described(layout, then),
    }
    path = layout.root / "node.json"
    path.write_text(json.dumps(config, indent=1))
    joins = "".join(f"echo 0 > '{folder}/cgroup.procs' && " for folder in cgroups.create(_cgroup(layout)))
    inside = [sys.executable, "-m", "tools.cluster.node", str(path)]
    command = ["unshare", *_NAMESPACES, "--fork", "--kill-child=SIGKILL", "--mount-proc", *inside]
    process = processes.spawn(
        "node",
        ["sh", "-c", joins + 'exec "$@"', "sh", *command],
        layout.log("node"),
        cwd=REPOSITORY,
        env={**_environment(), "PYTHONUNBUFFERED": "1"},
    )
    record.processes.append(process)
    record.save(layout)
    _hand_over(node, process, layout)


def _hand_over(node: Node, process: Process, layout: Layout) -> None:
    """Give the node its end of the link, once it is in a network namespace of its own."""
    ours = os.readlink("/proc/self/ns/net")

    def apart() -> bool:
        return bool(_children(process.pid)) and os.readlink(f"/proc/{process.pid}/ns/net") != ours

    def failed() -> None:
        if not process.alive():
            raise ClusterError(f"the node ended at once:\n{tail(layout.log('node'))}")

    if not api.wait(apart, 60, failed, interval=0.02):
        raise ClusterError(f"the node did not enter its namespaces:\n{tail(layout.log('node'))}")
    cgroups.settle(_cgroup(layout), process.pid)
    far = f"{node.interface}n"
    processes.run(["ip", "link", "set", far, "netns", str(process.pid), "name", "eth0"])


def _environment() -> dict[str, str]:
    """Return the components' environment: no proxy, since all they talk to is on the node."""
    path = os.environ.get("PATH", os.defpath)
    return {"PATH": f"{path}:/usr/sbin:/sbin", "LANG": "C.UTF-8"}


def _described(layout: Layout, components: Sequence[Component]) -> list[dict[str, Any]]:
    return [
        {"name": each.name, "argv": list(each.argv), "log": str(layout.log(each.name))} for each in components
    ]


def _children(pid: int) -> list[Process]:
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [Process.of("inside", int(child)) for child in text.split()]
    return []


def _import_pause(layout: Layout, record: Record, pause: Path) -> None:
    archive = layout.root / "pause.tar"
    pauseimage.write(pause / "pause", nodeconfig.PAUSE_IMAGE, archive)
    command = [*enter(record), "ctr", "-n", "k8s.io", "images", "import", str(archive)]
    deadline = time.monotonic() + 120
    while True:
        try:
            processes.run(command, what="ctr images import")
            break
        except ClusterError as error:
            if time.monotonic() > deadline:
                raise ClusterError(f"{error}\n{tail(layout.log('containerd'))}") from error
            time.sleep(0.2)
    archive.unlink()


def _wait_node(kubectl: api.Kubectl, node: Node, record: Record) -> None:
    def ready() -> bool:
        conditions = kubectl.get("node", node.name).get("status", {}).get("conditions", [])
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    def failed() -> None:
        if not record.alive():
            raise ClusterError(f"the node ended:\n{tail(node.layout.log('node'))}")

    if not api.wait(ready, 300, failed, interval=0.3):
        raise ClusterError(f"the node is not ready after 300 s:\n{tail(node.layout.log('kubelet'))}")
    if not api.wait(lambda: bool(_dns(node, record)), 120, failed, interval=0.3):
        raise ClusterError(f"DNS is not ready after 120 s:\n{tail(node.layout.log('coredns'))}")


def _dns(node: Node, record: Record) -> bool:
    """Ask CoreDNS, from inside the node, whether it is ready."""
    script = "import urllib.request as u; u.urlopen('http://127.0.0.1:8181/ready', timeout=2)"
    done = subprocess.run([*enter(record), sys.executable, "-c", script], capture_output=True)
    return done.returncode == 0
