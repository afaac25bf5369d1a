"""What a cluster consists of, kept in its state folder from the first process on."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from .paths import Layout
from .processes import Process
from .progress import Progress


@dataclass
class Record:
    """A cluster that was started.

    Attributes:
        driver: "control-plane", "native" or "kind".
        version: Kubernetes' version.
        ready: Whether ``up`` came to its end.
        processes: What runs on this machine, in the order of its start.
        details: What the driver has to remember.
    """

    driver: str
    version: str
    ready: bool = False
    processes: list[Process] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def alive(self) -> bool:
        """Tell whether every process runs."""
        return all(process.alive() for process in self.processes)

    def save(self, layout: Layout) -> None:
        """Write the record, atomically."""
        layout.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        scratch = layout.record.with_suffix(".tmp")
        scratch.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")
        os.replace(scratch, layout.record)


def load(layout: Layout) -> Record | None:
    """Return the record of a cluster, or None where there is none."""
    try:
        stored = json.loads(layout.record.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    processes = [Process(**process) for process in stored.pop("processes")]
    return Record(processes=processes, **stored)


@contextlib.contextmanager
def locked(layout: Layout, progress: Progress) -> Iterator[None]:
    """Let one command at a time change the cluster; a second one waits, and says so."""
    layout.lock.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with layout.lock.open("w") as file:
            take(file, progress, f"Waiting for another command on the cluster {layout.name!r}")
            # `down` removes the lock file: one that was removed while we waited protects nothing.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), layout.lock.stat()):
                    yield
                    return


def take(file: IO[str], progress: Progress, waiting: str) -> None:
    """Lock a file; where another process has it, show ``waiting`` until it is free."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with progress.phase(waiting):
            fcntl.flock(file, fcntl.LOCK_EX)
