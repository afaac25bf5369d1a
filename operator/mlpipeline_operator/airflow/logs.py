"""The end of a task's log, out of Airflow's stream of JSON lines."""

from __future__ import annotations

import json
from collections import deque
from typing import Final

import urllib3

__all__ = ["log_tail"]

_LOG_BYTES: Final = 64 * 1024 * 1024
_LINE_BYTES: Final = 64 * 1024


def log_tail(response: urllib3.BaseHTTPResponse, lines: int) -> tuple[str, ...]:
    """Keep the last lines of a streamed log; reads 64 MiB of it at most."""
    tail: deque[str] = deque(maxlen=lines)
    rest, seen = b"", 0
    for chunk in response.stream(65536):
        seen += len(chunk)
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            tail.extend(_log_line(line))
        rest = rest[:_LINE_BYTES]
        if seen > _LOG_BYTES:
            break
    tail.extend(_log_line(rest))
    return tuple(tail)


def _log_line(line: bytes) -> list[str]:
    if not line.strip():
        return []
    try:
        entry = json.loads(line)
        text = [str(entry["event"])]
        text += [f"{detail['exc_type']}: {detail['exc_value']}" for detail in entry.get("error_detail") or ()]
    except (KeyError, TypeError, ValueError):
        return [line.decode(errors="replace")]
    return text
