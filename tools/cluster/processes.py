"""Start, find and end processes, by process id and start time (ids are used again)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import ClusterError, tail

# Children of this very process have to be reaped by it when they end.
_children: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class Process:
    """A process that this package started.

    Attributes:
        name: The component's name.
        pid: Its process id.
        started: Its start time in clock ticks since boot (field 22 of ``/proc/PID/stat``).
    """

    name: str
    pid: int
    started: int

    @classmethod
    def of(cls, name: str, pid: int) -> Process:
        """Describe the running process ``pid``; a process that is gone gets start time -1."""
        return cls(name, pid, _start_time(pid))

    def alive(self) -> bool:
        """Tell whether it still runs; a zombie does not."""
        return self.started >= 0 and _start_time(self.pid) == self.started


def _start_time(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return -1
    fields = stat[stat.rindex(")") + 2 :].split()
    return -1 if fields[0] in "ZX" else int(fields[19])


def spawn(
    name: str, argv: Sequence[str], log: Path, *, cwd: Path, env: Mapping[str, str] | None = None
) -> Process:
    """Start a process in a session of its own, its output appended to ``log``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=dict(env) if env is not None else None,
            start_new_session=True,
        )
    _children.append(child)
    return Process.of(name, child.pid)


def stop(processes: Sequence[Process], grace: float = 10.0) -> None:
    """End the processes, the last started first; what ignores SIGTERM for ``grace`` seconds is killed."""
    for process in reversed(processes):
        _send(process, signal.SIGTERM)
        _wait_gone(process, grace)
        if process.alive():
            _send(process, signal.SIGKILL)
            _wait_gone(process, 5.0)


def kill(processes: Sequence[Process]) -> None:
    """End the processes at once."""
    for process in processes:
        _send(process, signal.SIGKILL)
    wait_gone(processes)


def wait_gone(processes: Sequence[Process], seconds: float = 10.0) -> None:
    """Wait until the processes are gone, at most ``seconds`` for each."""
    for process in processes:
        _wait_gone(process, seconds)


def _send(process: Process, number: signal.Signals) -> None:
    if process.alive():
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


def _wait_gone(process: Process, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while (process.alive() or _unreaped(process)) and time.monotonic() < deadline:
        time.sleep(0.02)
    _children[:] = [child for child in _children if child.poll() is None]


def _unreaped(process: Process) -> bool:
    """Tell whether it is a child of ours whose last threads still end: its first one is a zombie before."""
    return any(child.pid == process.pid and child.poll() is None for child in _children)


def run(
    argv: Sequence[str],
    *,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    what: str = "",
) -> str:
    """Run a command to its end and return its standard output.

    With ``log``, standard error goes there (and standard output too, so "" is returned).

    Raises:
        ClusterError: if it cannot be started or fails; the message quotes the end of its output.
    """
    what = what or " ".join(argv[:3])
    environment = dict(env) if env is not None else None
    try:
        if log is None:
            done = subprocess.run(
                list(argv),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                env=environment,
                cwd=cwd,
            )
        else:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as output:
                done = subprocess.run(
                    list(argv),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    cwd=cwd,
                    text=True,
                )
    except FileNotFoundError as error:
        raise ClusterError(f"{what}: {error.filename} is not there") from error
    if done.returncode == 0:
        return done.stdout or ""
    if log is not None:
        raise ClusterError(f"{what} failed (exit status {done.returncode}):\n{tail(log)}")
    last = "\n".join("  " + line for line in (done.stderr or done.stdout).splitlines()[-15:])
    raise ClusterError(f"{what} failed (exit status {done.returncode}):\n{last}")


def pipe(writer: Sequence[str], reader: Sequence[str], *, what: str) -> None:
    """Run two commands, the first one's standard output being the second one's input.

    Raises:
        ClusterError: if one fails; the message quotes what both said.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        first = subprocess.Popen(list(writer), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said)
        try:
            second = subprocess.run(list(reader), stdin=first.stdout, stdout=subprocess.DEVNULL, stderr=said)
        finally:
            if first.stdout:
                # The writer ends when nobody reads any more.
                first.stdout.close()
            status = first.wait()
        if status or second.returncode:
            said.seek(0)
            last = "\n".join("  " + line for line in said.read().splitlines()[-15:])
            raise ClusterError(f"{what} failed:\n{last}")
