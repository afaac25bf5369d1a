"""The first process inside the node's namespaces: prepares them, starts the components, keeps them running.

Started by ``native.py`` as ``python3 -m tools.cluster.node STATE/node.json``. When it ends, by
whatever signal, the kernel ends everything inside and takes the mounts and interfaces with it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import cgroups

_RESTART_SECONDS = 2.0
# k8s.io/kubernetes, pkg/kubelet/cm/container_manager_linux.go: setupKernelTunables
_KUBELET_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def main(config_path: str) -> int:
    """Run the node until a signal ends it."""
    config: dict[str, Any] = json.loads(Path(config_path).read_text())
    # As first process of its namespace it gets only the signals that it handles.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    os.chdir("/")
    _say("preparing the namespaces")
    _mounts(config["mounts"])
    _cgroups()
    _network(config["address"], config["gateway"], config["hostname"])
    supervisor = _Supervisor(config["environment"])
    for component in config["first"]:
        supervisor.start(component)
    host, port = config["apiServer"]
    while not _answers(host, port):
        supervisor.tend()
    for component in config["then"]:
        supervisor.start(component)
    _say("all components are started")
    while True:
        supervisor.tend()


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True)


def _mounts(mounts: Sequence[Sequence[str]]) -> None:
    """Make the mounts that only the node sees: ``unshare`` made this namespace's private."""
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    missing: dict[Path, list[str]] = {}
    for _, target in mounts:
        if not os.path.isdir(target):
            missing.setdefault(Path(target).parent, []).append(Path(target).name)
    for parent, names in missing.items():
        _add_folders(parent, names)
    for source, target in mounts:
        if source:
            _run("mount", "--bind", source, target)
        else:
            _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", target)
    # Nothing outside can be reached from here: no name is to be looked up there either.
    resolver = Path("/etc/resolv.conf").resolve()
    if not resolver.exists():
        resolver.parent.mkdir(parents=True, exist_ok=True)
        resolver.touch()
    _run("mount", "--bind", "/dev/null", str(resolver))
    # The kernel's settings are the whole machine's, but for those of the network: here they are read-only,
    # and those that the kubelet insists on seem to be set.
    _run("mount", "--bind", "/proc/sys", "/proc/sys")
    _run("mount", "-o", "remount,bind,ro", "/proc/sys")
    _run("mount", "--bind", "/proc/sys/net", "/proc/sys/net")
    _run("mount", "-o", "remount,bind,rw", "/proc/sys/net")
    for name, value in _KUBELET_SETTINGS.items():
        pretended = Path("/run/kernel-settings") / name
        pretended.parent.mkdir(exist_ok=True, parents=True)
        pretended.write_text(value + "\n")
        if Path("/proc/sys", name).exists():
            _run("mount", "--bind", str(pretended), f"/proc/sys/{name}")
    # From here on, what a pod mounts may be seen by others (mount propagation).
    _run("mount", "--make-rshared", "/")


def _add_folders(parent: Path, names: Sequence[str]) -> None:
    """Add folders to ``parent`` that the host does not get: a copy of it, made of bind mounts, covers it."""
    copy = Path("/run/covered", *parent.parts[1:])
    copy.mkdir(parents=True)
    for entry in sorted(parent.iterdir()):
        if entry.is_symlink():
            (copy / entry.name).symlink_to(os.readlink(entry))
            continue
        (copy / entry.name).mkdir() if entry.is_dir() else (copy / entry.name).touch()
        _run("mount", "--rbind", str(entry), str(copy / entry.name))
    for name in names:
        (copy / name).mkdir()
    _run("mount", "--rbind", str(copy), str(parent))


def _cgroups() -> None:
    """Mount the cgroups anew, so that this namespace's root is their root."""
    found = cgroups.mounted()
    _run("mount", "-t", "sysfs", "-o", "nosuid,nodev,noexec", "sysfs", "/sys")
    root = Path("/sys/fs/cgroup")
    if any(hierarchy.mountpoint == root for hierarchy in found):
        _run("mount", "-t", "cgroup2", "cgroup2", str(root))
        # Version 2 allows no process in a cgroup that hands controllers to its children: this one moves
        # itself, the host moves `unshare`.
        (root / cgroups.INIT).mkdir(exist_ok=True)
        (root / cgroups.INIT / "cgroup.procs").write_text(str(os.getpid()))
        while (root / "cgroup.procs").read_text().strip():
            time.sleep(0.02)
        cgroups.delegate(root)
        return
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(root))
    for hierarchy in found:
        target = root / hierarchy.mountpoint.name
        target.mkdir()
        options = ["-o", hierarchy.options] if hierarchy.options else []
        _run("mount", "-t", hierarchy.kind, *options, hierarchy.kind, str(target))


def _network(address: str, gateway: str, hostname: str) -> None:
    socket.sethostname(hostname)
    _run("ip", "link", "set", "lo", "up")
    while subprocess.run(["ip", "link", "show", "eth0"], capture_output=True).returncode:
        time.sleep(0.02)
    _run("ip", "address", "add", f"{address}/30", "dev", "eth0")
    _run("ip", "link", "set", "eth0", "up")
    _run("ip", "route", "add", "default", "via", gateway)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


class _Supervisor:
    """Starts components, reaps every orphan, starts again what ended."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._running: dict[int, dict[str, Any]] = {}
        self._due: list[tuple[float, dict[str, Any]]] = []

    def start(self, component: dict[str, Any]) -> None:
        with open(component["log"], "ab") as log:
            child = subprocess.Popen(
                component["argv"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd="/",
                start_new_session=True,
            )
        self._running[child.pid] = component
        _say(f"started {component['name']}")

    def tend(self) -> None:
        """Reap what ended, start again what is due, and rest for a moment."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if component := self._running.pop(pid, None):
                code = os.waitstatus_to_exitcode(status)
                _say(f"{component['name']} ended with {code}, starts again in {_RESTART_SECONDS} s")
                self._due.append((time.monotonic() + _RESTART_SECONDS, component))
        now = time.monotonic()
        for item in [item for item in self._due if item[0] <= now]:
            self._due.remove(item)
            self.start(item[1])
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
