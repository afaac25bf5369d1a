"""A cgroup of the cluster's own, in version 1, 2 or both, and its removal."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

INIT = "init"


@dataclass(frozen=True)
class Hierarchy:
    """A mounted cgroup hierarchy.

    Attributes:
        mountpoint: Where it is mounted.
        kind: "cgroup" (version 1) or "cgroup2".
        options: The mount options that name its controllers; "" for version 2.
    """

    mountpoint: Path
    kind: str
    options: str


_FLAGS = {"rw", "ro", "xattr", "clone_children", "noprefix", "nsdelegate", "memory_recursiveprot"}


def hierarchies(mountinfo: str) -> list[Hierarchy]:
    """Return the cgroup hierarchies in the text of ``/proc/self/mountinfo`` (proc(5))."""
    found: dict[tuple[str, str], Hierarchy] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind not in ("cgroup", "cgroup2"):
            continue
        named = [o for o in options.split(",") if o not in _FLAGS and not o.startswith("release_agent=")]
        if any(option.startswith("name=") for option in named):
            named.insert(0, "none")
        text = ",".join(named) if kind == "cgroup" else ""
        found.setdefault((kind, text), Hierarchy(Path(before.split(" ")[4]), kind, text))
    return list(found.values())


def mounted() -> list[Hierarchy]:
    """Return this process's cgroup hierarchies."""
    return hierarchies(Path("/proc/self/mountinfo").read_text())


def create(name: str) -> list[Path]:
    """Make the cgroup ``name`` at the root of each hierarchy and return the folders."""
    folders = []
    for hierarchy in mounted():
        folder = hierarchy.mountpoint / name
        folder.mkdir(exist_ok=True)
        if hierarchy.kind == "cgroup2":
            delegate(hierarchy.mountpoint)
        # A new cpuset has no CPUs and no memory nodes, and nothing can run in it.
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if hierarchy.kind == "cgroup" and (folder / setting).exists():
                (folder / setting).write_text((hierarchy.mountpoint / setting).read_text())
        folders.append(folder)
    return folders


def settle(name: str, pid: int) -> None:
    """Move a process from the cgroup ``name`` to one below it, where version 2 is mounted.

    There, a cgroup that hands controllers to its children may hold no process itself.
    """
    for hierarchy in mounted():
        if hierarchy.kind == "cgroup2":
            folder = hierarchy.mountpoint / name / INIT
            folder.mkdir(exist_ok=True)
            (folder / "cgroup.procs").write_text(str(pid))


def delegate(folder: Path) -> None:
    """Let the children of a version 2 cgroup have all the controllers that it has itself."""
    for controller in (folder / "cgroup.controllers").read_text().split():
        # Some, as cpu with realtime processes, cannot be passed on; the kubelet names what it lacks.
        with contextlib.suppress(OSError):
            (folder / "cgroup.subtree_control").write_text(f"+{controller}")


def remove(name: str, seconds: float = 10.0) -> list[Path]:
    """Remove the cgroup ``name`` and all below it; return what could not be removed."""
    deadline = time.monotonic() + seconds
    left = [folder for hierarchy in mounted() if (folder := hierarchy.mountpoint / name).is_dir()]
    while left:
        for folder in left:
            for below, _, _ in os.walk(folder, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(below)
        left = [folder for folder in left if folder.is_dir()]
        if time.monotonic() > deadline:
            break
        if left:
            time.sleep(0.1)
    return left
