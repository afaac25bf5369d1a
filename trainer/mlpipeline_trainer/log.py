"""The trainer's own words go to standard error with a prefix; standard output is the user's."""

from __future__ import annotations

import sys


def say(message: str) -> None:
    """Prints one line to standard error, at once."""
    print(f"mlpipeline-trainer: {message}", file=sys.stderr, flush=True)
