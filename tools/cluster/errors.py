"""The one error that this package raises on purpose."""

from __future__ import annotations

from pathlib import Path


class ClusterError(Exception):
    """Something went wrong that the message explains, with what to do about it."""


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log, indented, for an error message."""
    try:
        text = log.read_text(errors="replace").splitlines()[-lines:]
    except OSError:
        return f"  (no log at {log})"
    return "\n".join(["  " + line[:400] for line in text] or ["  (empty)"]) + f"\n  (whole log: {log})"
