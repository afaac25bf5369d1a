"""Bring a cluster up, take it down, say how it is: the same for every driver."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from . import controlplane, toolchain
from .errors import ClusterError
from .paths import Layout
from .progress import Progress
from .record import Record, load, locked

DRIVERS = ("auto", "kind", "native")


def up(
    layout: Layout, progress: Progress, *, control_plane_only: bool = False, driver: str = "auto"
) -> Record:
    """Bring the cluster up; one that is up already stays as it is.

    Raises:
        ClusterError: if it cannot be brought up, or runs in another form.
    """
    wanted = "control-plane" if control_plane_only else _choose(driver)
    with locked(layout, progress):
        record = load(layout)
        if record is not None and record.ready and _alive(layout, record):
            if not _serves(record.driver, wanted, driver):
                raise ClusterError(
                    f"the cluster {layout.name!r} runs already, as {record.driver}: "
                    "choose another --name, or take it down first"
                )
            progress.note(f"  The cluster {layout.name!r} is up already ({record.driver}).")
            return record
        if record is not None:
            progress.note("  The cluster was not whole: taking down what is left of it.")
        _clear(layout, record)
        layout.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        record = _start(wanted, layout, progress)
        progress.save(layout.timings)
        return record


def down(layout: Layout, progress: Progress) -> bool:
    """Take the cluster down and remove its state; False where there was none."""
    if not layout.root.exists():
        return False
    with locked(layout, progress):
        record = load(layout)
        with progress.phase(f"Taking down the cluster {layout.name!r}"):
            _clear(layout, record)
    layout.lock.unlink(missing_ok=True)
    return True


def status(layout: Layout) -> dict[str, object]:
    """Return what is known of the cluster; ``state`` is "Absent", "Ready" or "Broken"."""
    record = load(layout)
    if record is None:
        return {"name": layout.name, "state": "Absent"}
    return {
        "name": layout.name,
        "state": "Ready" if record.ready and _alive(layout, record) else "Broken",
        "driver": record.driver,
        "version": record.version,
        "url": record.details.get("url"),
        "kubeconfig": str(layout.kubeconfig),
        "auditLog": str(layout.audit_log),
        "logs": str(layout.logs),
        "processes": {process.name: process.alive() for process in record.processes},
    }


@contextlib.contextmanager
def control_plane(name: str) -> Iterator[Path]:
    """Run a control plane for the length of the block and give the path of its kubeconfig."""
    layout = Layout(name)
    progress = Progress("control_plane")
    up(layout, progress, control_plane_only=True)
    try:
        yield layout.kubeconfig
    finally:
        down(layout, progress)


def _serves(running: str, wanted: str, asked: str) -> bool:
    """Tell whether a running cluster is what was asked for: with "auto" any that has a node, or none."""
    return running == wanted or (asked == "auto" and "control-plane" not in (running, wanted))


def _choose(driver: str) -> str:
    if driver not in DRIVERS:
        raise ClusterError(f"--driver {driver}: choose one of {', '.join(DRIVERS)}")
    from . import kind

    if driver == "auto":
        driver = "kind" if kind.engine_works() else "native"
    if driver == "native" and not (sys.platform == "linux" and os.geteuid() == 0):
        raise ClusterError(
            "a cluster with a node needs a working Docker engine (for kind), or root on Linux. "
            "A control plane alone needs neither: --control-plane-only"
        )
    return driver


def _start(driver: str, layout: Layout, progress: Progress) -> Record:
    if driver == "control-plane":
        return controlplane.up(layout, progress)
    if driver == "kind":
        from . import kind

        return kind.up(layout, progress)
    from . import native

    return native.up(layout, progress)


def _alive(layout: Layout, record: Record) -> bool:
    if record.driver == "kind":
        from . import kind

        return kind.alive(layout)
    return record.alive()


def _clear(layout: Layout, record: Record | None) -> None:
    if record is not None:
        if record.driver == "kind":
            from . import kind

            kind.down(layout, record)
        elif record.driver == "native":
            from . import native

            native.down(layout, record)
        else:
            controlplane.down(record)
    shutil.rmtree(layout.root, ignore_errors=True)
    if layout.root.exists():
        raise ClusterError(f"{layout.root} could not be removed")


def programs() -> Path | None:
    """Return the folder of the built node programs, None where they were not built yet."""
    folder = toolchain.folder(toolchain.NODE)
    return folder if folder.exists() else None
