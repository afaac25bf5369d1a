"""What a run hands back: a JSON file, and the same within 4096 bytes as the termination message."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

SCHEMA = 1
TERMINATION_MESSAGE_LIMIT = 4096
MESSAGE_LIMIT = 2000
HISTORY_LIMIT = 200
WARNINGS_LIMIT = 20


@dataclass(frozen=True)
class Failure:
    """Why a run failed.

    Attributes:
        reason: CamelCase word, see `errors.TABLE`.
        message: The cause in one line, with file and line.
        exit_code: The process's exit status.
        retryable: Whether another attempt may end differently.
    """

    reason: str
    message: str
    exit_code: int
    retryable: bool


@dataclass(frozen=True)
class Model:
    """The saved model.

    Attributes:
        uri: The file, or the folder if there are several.
        digest: `sha256:` and hexadecimal digits; see `storage.digest`.
        bytes: Size of all files together.
    """

    uri: str
    digest: str
    bytes: int


@dataclass(frozen=True)
class ResourceUsage:
    """What process and children used so far: seconds of clock and of CPU, peak resident memory in bytes."""

    wall_seconds: float
    cpu_seconds: float
    max_rss_bytes: int


@dataclass(frozen=True)
class Result:
    """The result; `state` is `Running` in what is written on the way, see `reporter.FileReporter`.

    Attributes:
        state: `Running`, `Succeeded` or `Failed`.
        metrics: Name to latest value, canonical and finite.
        best_metrics: Name to best value of this run.
        history: One entry per epoch: `epoch` (from 1) and the metrics; thinned out beyond `HISTORY_LIMIT`.
        epochs: Completed ones, including those of earlier attempts that this one went on from.
        resumed_from: Those of `epochs` that earlier attempts trained, and this one did not repeat.
        commit: Of the code, where it came from Git.
        outputs: What the code left for later steps; see `left_outputs`.
        started_at: RFC 3339, UTC; `finished_at` too.
    """

    state: str
    metrics: dict[str, str] = field(default_factory=dict)
    best_metrics: dict[str, str] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    epochs: int = 0
    resumed_from: int = 0
    commit: str | None = None
    model: Model | None = None
    failure: Failure | None = None
    usage: ResourceUsage | None = None
    warnings: list[str] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    run: str | None = None
    step: str | None = None
    attempt: int = 1
    started_at: str | None = None
    finished_at: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The document; keys without a value are left out."""
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "state": self.state,
            "run": self.run,
            "step": self.step,
            "attempt": self.attempt,
            "startedAt": self.started_at,
            "finishedAt": self.finished_at,
            "epochs": self.epochs,
            "commit": self.commit,
            "resumedFromEpoch": self.resumed_from or None,
            "metrics": self.metrics,
            "bestMetrics": self.best_metrics,
        }
        if self.model:
            document["model"] = {
                "uri": self.model.uri,
                "digest": self.model.digest,
                "bytes": self.model.bytes,
            }
        if self.failure:
            document["failure"] = {
                "reason": self.failure.reason,
                "message": self.failure.message,
                "exitCode": self.failure.exit_code,
                "retryable": self.failure.retryable,
            }
        if self.outputs:
            document["outputs"] = self.outputs
        if self.usage:
            document["resourceUsage"] = {
                "wallSeconds": round(self.usage.wall_seconds, 1),
                "cpuSeconds": round(self.usage.cpu_seconds, 1),
                "maxRssBytes": self.usage.max_rss_bytes,
            }
        document["warnings"] = self.warnings[:WARNINGS_LIMIT]
        document["history"] = thin(self.history, HISTORY_LIMIT)
        return {key: value for key, value in document.items() if value not in (None, [])}


def thin(entries: list[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    """At most `limit` of the entries, evenly spaced, the first and the last always among them."""
    if len(entries) <= limit:
        return list(entries)
    last = len(entries) - 1
    return [entries[round(i * last / (limit - 1))] for i in range(limit)]


def shorten(text: str, limit: int) -> str:
    """`text` within `limit` bytes of UTF-8; cut in the middle, since the place stands at the end."""
    raw = text.encode()
    if len(raw) <= limit:
        return text
    mark = " … "
    room = max(0, limit - len(mark.encode()))
    tail = room // 3
    head = raw[: room - tail].decode(errors="ignore")
    end = raw[len(raw) - tail :].decode(errors="ignore") if tail else ""
    return head + mark + end if room else ""


def termination_message(result: Result, limit: int = TERMINATION_MESSAGE_LIMIT) -> bytes:
    """The result as compact JSON of at most `limit` bytes.

    What does not fit goes in this order: the history, the warnings, the middle of the failure's message, the
    best metrics, the last of the metrics, the outputs (the last two with `"truncated": true`).
    """
    size = len(_compact(result))
    if size <= limit:
        return _compact(result)
    result = replace(result, history=[])
    if len(_compact(result)) > limit:
        result = replace(result, warnings=[])
    if result.failure:
        result = _with_message_within(result, limit)
    if len(_compact(result)) <= limit:
        return _compact(result)
    result = replace(result, best_metrics={})
    while len(_compact(result, truncated=True)) > limit and result.metrics:
        result = replace(result, metrics=dict(list(result.metrics.items())[:-1]))
    if len(_compact(result, truncated=True)) > limit:
        result = replace(result, outputs={})
    return _compact(result, truncated=True)


def _with_message_within(result: Result, limit: int) -> Result:
    assert result.failure
    message = result.failure.message
    # JSON escapes make the bytes differ, so approach from above; 200 bytes still name the cause.
    for room in range(len(message.encode()), 200, -100):
        result = replace(result, failure=replace(result.failure, message=shorten(message, room)))
        if len(_compact(result)) <= limit:
            break
    return result


def _compact(result: Result, truncated: bool = False) -> bytes:
    document = result.to_json()
    if truncated:
        document["truncated"] = True
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def write_result(path: Path, result: Result) -> None:
    """Writes the document by rename, so a reader sees the old one or the new one, never half of one."""
    text = json.dumps(result.to_json(), indent=1, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode())


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file by rename within its folder, which is created if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)


def left_outputs(path: Path) -> dict[str, Any]:
    """The `outputs` in the JSON that the user's code left as its termination message; none, if it did not."""
    try:
        left = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    outputs = left.get("outputs") if isinstance(left, dict) else None
    return outputs if isinstance(outputs, dict) else {}


def write_termination_message(path: Path, result: Result) -> None:
    """Writes the termination message in place: the kubelet mounts that very file."""
    path.write_bytes(termination_message(result))


def measure_usage(started: float) -> ResourceUsage:
    """Usage of this process and its children since `started` (of `time.monotonic`)."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    unit = 1 if sys.platform == "darwin" else 1024
    return ResourceUsage(
        wall_seconds=time.monotonic() - started,
        cpu_seconds=own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime,
        max_rss_bytes=max(own.ru_maxrss, children.ru_maxrss) * unit,
    )
