"""Phases with their elapsed seconds: shown while they run, recorded when they end."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_HEARTBEAT_SECONDS = 15.0


class Progress:
    """Shows the phases of one command on standard error and records how long they took."""

    def __init__(self, command: str) -> None:
        """Start the clock of the command."""
        self.command = command
        self.phases: list[tuple[str, float]] = []
        self._started = time.monotonic()
        self._live = sys.stderr.isatty()

    @contextlib.contextmanager
    def phase(self, title: str) -> Iterator[None]:
        """Show ``title`` with a clock while the block runs."""
        started = time.monotonic()
        done = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(title, started, done), daemon=True)
        if not self._live:
            self._write(f"  {title} ...\n")
        ticker.start()
        mark = "!"
        try:
            yield
            mark = "✓"
        finally:
            done.set()
            ticker.join()
            seconds = time.monotonic() - started
            self._write(f"{self._clear()}{mark} {title}  {seconds:.1f} s\n")
            if mark == "✓":
                self.phases.append((title, round(seconds, 2)))

    def note(self, text: str) -> None:
        """Show one line that is no phase."""
        self._write(f"{self._clear()}{text}\n")

    def save(self, path: Path) -> None:
        """Append the phases to the JSON list at ``path``; an unreadable list is replaced."""
        try:
            runs = json.loads(path.read_text())
        except (OSError, ValueError):
            runs = []
        runs.append(
            {
                "command": self.command,
                "finishedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "seconds": round(time.monotonic() - self._started, 2),
                "phases": [{"name": name, "seconds": seconds} for name, seconds in self.phases],
            }
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(runs, indent=1) + "\n")

    def _tick(self, title: str, started: float, done: threading.Event) -> None:
        interval = 0.5 if self._live else _HEARTBEAT_SECONDS
        while not done.wait(interval):
            seconds = time.monotonic() - started
            if self._live:
                self._write(f"{self._clear()}  {title}  {seconds:.0f} s")
            else:
                self._write(f"  {title} ... {seconds:.0f} s\n")

    def _clear(self) -> str:
        return "\r\x1b[2K" if self._live else ""

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
