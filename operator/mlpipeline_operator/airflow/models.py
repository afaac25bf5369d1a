"""What Airflow says, as small frozen values of our own; and how to read them from its JSON.

Airflow's client has models too, but they refuse an answer with one unknown word in it (a newer Airflow's
state, say). Here only what the operator uses is read, and the rest is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from mlpipeline_operator.names import DAG_HASH_TAG_PREFIX

__all__ = ["FINISHED_STATES", "Dag", "DagRun", "Health", "ImportFailure", "RunKey", "TaskInstance"]

RunKey = tuple[str, str]
"""A DAG run: its dag_id and its run id."""

FINISHED_STATES: Final = frozenset({"success", "failed"})


def _time(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None


@dataclass(frozen=True, slots=True)
class Health:
    """What Airflow says of its parts.

    Attributes:
        components: State (``healthy`` or ``unhealthy``) of ``metadatabase``, ``scheduler``, ``dag_processor``
            and ``triggerer``; None for one that never ran.
    """

    components: Mapping[str, str | None]

    def healthy(self, component: str) -> bool:
        """Whether Airflow calls a component healthy; ``-`` and ``_`` are one."""
        return self.components.get(component.replace("-", "_")) == "healthy"

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Health:
        """Read Airflow's answer to ``GET monitor/health``."""
        return cls({name: part.get("status") for name, part in body.items() if isinstance(part, Mapping)})


@dataclass(frozen=True, slots=True)
class Dag:
    """A DAG that Airflow has parsed at least once.

    Attributes:
        hashes: The hashes in its hash tags: which text of the file Airflow has (normally one).
        stale: The file was gone when Airflow looked last, so that it cannot be triggered.
        path: Its file, relative to the bundle.
        last_parsed: When Airflow parsed it last.
    """

    dag_id: str
    tags: frozenset[str]
    stale: bool
    paused: bool
    has_import_errors: bool
    last_parsed: datetime | None
    bundle: str | None
    bundle_version: str | None
    path: str | None

    @property
    def hashes(self) -> frozenset[str]:
        """The hashes that its tags carry."""
        prefix = DAG_HASH_TAG_PREFIX
        return frozenset(tag.removeprefix(prefix) for tag in self.tags if tag.startswith(prefix))

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Dag:
        """Read one of ``dags`` in Airflow's answer to ``GET dags``."""
        return cls(
            dag_id=body["dag_id"],
            tags=frozenset(tag["name"] for tag in body["tags"]),
            stale=bool(body.get("is_stale")),
            paused=bool(body["is_paused"]),
            has_import_errors=bool(body["has_import_errors"]),
            last_parsed=_time(body.get("last_parsed_time")),
            bundle=body.get("bundle_name"),
            bundle_version=body.get("bundle_version"),
            path=body.get("relative_fileloc"),
        )


@dataclass(frozen=True, slots=True)
class ImportFailure:
    """Why Airflow could not parse a file.

    Attributes:
        path: The file, relative to its bundle.
        line: Line of that file, where the stack trace names one.
        message: The exception, with its type, in one line.
        stack_trace: The whole of it.
        seen_at: When Airflow met it last; renewed each time that it reads the file, so two failures that
            differ by it alone are equal.
    """

    path: str
    bundle: str | None
    line: int | None
    message: str
    stack_trace: str
    seen_at: datetime | None = field(compare=False)

    def __str__(self) -> str:
        """File, line and message as a compiler prints them."""
        return f"{self.path}:{self.line}: {self.message}" if self.line else f"{self.path}: {self.message}"

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> ImportFailure:
        """Read one of ``import_errors`` in Airflow's answer to ``GET importErrors``."""
        path, trace = body["filename"], body["stack_trace"]
        lines = [line for line in trace.splitlines() if line.strip()]
        # The last frame in the file itself: deeper ones are the libraries that it called.
        frames = re.findall(rf'File "[^"]*{re.escape(path)}", line (\d+)', trace)
        return cls(
            path=path,
            bundle=body.get("bundle_name"),
            line=int(frames[-1]) if frames else None,
            message=lines[-1].strip() if lines else "Airflow gave no reason.",
            stack_trace=trace,
            seen_at=_time(body.get("timestamp")),
        )


@dataclass(frozen=True, slots=True)
class DagRun:
    """One run of a DAG.

    Attributes:
        state: ``queued``, ``running``, ``success`` or ``failed``.
        run_type: ``manual``, ``scheduled``, ``backfill``, ``asset_triggered``, ...
        triggered_by: ``rest_api``, ``ui``, ``timetable``, ``cli``, ... where Airflow says so.
        conf: What it was triggered with.
    """

    dag_id: str
    run_id: str
    state: str
    run_type: str
    triggered_by: str | None
    queued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    run_after: datetime | None
    logical_date: datetime | None
    bundle_version: str | None
    conf: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def key(self) -> RunKey:
        """Its dag_id and run id."""
        return self.dag_id, self.run_id

    @property
    def finished(self) -> bool:
        """Whether it has ended, well or badly."""
        return self.state in FINISHED_STATES

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> DagRun:
        """Read one of ``dag_runs`` in Airflow's answer to ``GET dagRuns``."""
        return cls(
            dag_id=body["dag_id"],
            run_id=body["dag_run_id"],
            state=body["state"],
            run_type=body["run_type"],
            triggered_by=body.get("triggered_by"),
            queued_at=_time(body.get("queued_at")),
            started_at=_time(body.get("start_date")),
            finished_at=_time(body.get("end_date")),
            run_after=_time(body.get("run_after")),
            logical_date=_time(body.get("logical_date")),
            bundle_version=body.get("bundle_version"),
            conf=body.get("conf") or {},
        )


@dataclass(frozen=True, slots=True)
class TaskInstance:
    """One task of a run, in its latest attempt.

    Attributes:
        state: Airflow's word for it (``success``, ``failed``, ``upstream_failed``, ``running``, ...); None
            before the scheduler looked at it.
        try_number: The attempt, from 1; 0 before the first.
        map_index: Which of a mapped task's instances; -1 where the task is not mapped.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    state: str | None
    try_number: int
    max_tries: int
    queued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    hostname: str | None

    @property
    def run_key(self) -> RunKey:
        """The run that it belongs to."""
        return self.dag_id, self.run_id

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> TaskInstance:
        """Read one of ``task_instances`` in Airflow's answer to ``GET taskInstances``."""
        return cls(
            dag_id=body["dag_id"],
            run_id=body["dag_run_id"],
            task_id=body["task_id"],
            map_index=body.get("map_index", -1),
            state=body.get("state"),
            try_number=body["try_number"],
            max_tries=body.get("max_tries", 0),
            queued_at=_time(body.get("queued_when")),
            started_at=_time(body.get("start_date")),
            finished_at=_time(body.get("end_date")),
            hostname=body.get("hostname"),
        )
