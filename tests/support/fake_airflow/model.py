"""What the fake Airflow knows, and what a test has happen in it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

__all__ = ["FINISHED", "FakeDag", "FakeModel", "FakeRun", "FakeTask"]

FINISHED = ("success", "failed")


@dataclass(slots=True)
class FakeDag:
    """A DAG that was parsed at least once."""

    dag_id: str
    path: str
    tags: list[str]
    stale: bool = False
    paused: bool = False
    parsed_at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(slots=True)
class FakeTask:
    """One task instance of a run."""

    task_id: str
    state: str | None = None
    try_number: int = 0
    start: datetime | None = None
    end: datetime | None = None
    xcom: dict[str, Any] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(slots=True)
class FakeRun:
    """One run of a DAG."""

    number: int
    dag_id: str
    run_id: str
    conf: dict[str, Any]
    run_type: str = "manual"
    triggered_by: str = "rest_api"
    state: str = "queued"
    queued_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    start: datetime | None = None
    end: datetime | None = None
    updated_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    tasks: dict[str, FakeTask] = field(default_factory=dict)


class FakeModel:
    """DAGs, runs and import errors.

    Attributes:
        version: What it says it is.
        on_trigger: Called with each run that is triggered, such as to let it succeed at once.
    """

    def __init__(self) -> None:
        self.dags: dict[str, FakeDag] = {}
        self.runs: dict[tuple[str, str], FakeRun] = {}
        self.import_errors: dict[str, str] = {}
        self.health = {"metadatabase": "healthy", "scheduler": "healthy", "dag_processor": "healthy"}
        self.version = "3.3.2"
        self.on_trigger: Callable[[FakeRun], None] | None = None
        self._numbers = 0

    def parse(self, dag_id: str, path: str, tags: Sequence[str]) -> FakeDag:
        """The dag-processor read a file well: its DAG has these tags now, and its import error is gone."""
        self.import_errors.pop(path, None)
        dag = self.dags.setdefault(dag_id, FakeDag(dag_id, path, []))
        dag.path, dag.tags, dag.stale, dag.parsed_at = path, list(tags), False, datetime.now(UTC)
        return dag

    def fail_import(self, path: str, stack_trace: str) -> None:
        """The dag-processor could not import a file; as in Airflow its DAGs are stale from then on."""
        self.import_errors[path] = stack_trace
        for dag in self.dags.values():
            dag.stale = dag.stale or dag.path == path

    def remove_file(self, path: str) -> None:
        """A file is gone, with its DAGs and its import error."""
        self.import_errors.pop(path, None)
        for dag in self.dags.values():
            dag.stale = dag.stale or dag.path == path

    def start_run(
        self, dag_id: str, run_id: str, conf: Mapping[str, Any] | None = None, **fields: Any
    ) -> FakeRun:
        """A run begins, by whoever ``fields`` say (``run_type="scheduled", triggered_by="timetable"``)."""
        self._numbers += 1
        run = self.runs[dag_id, run_id] = FakeRun(self._numbers, dag_id, run_id, dict(conf or {}), **fields)
        return run

    def advance(
        self,
        dag_id: str,
        run_id: str,
        state: str,
        tasks: Mapping[str, str | None] | None = None,
        xcom: Mapping[str, Mapping[str, Any]] | None = None,
        log: Mapping[str, Sequence[str]] | None = None,
    ) -> FakeRun:
        """A run goes on.

        Args:
            dag_id: Its DAG.
            run_id: Its id.
            state: ``queued``, ``running``, ``success`` or ``failed``.
            tasks: State by task_id.
            xcom: By task_id, what the task pushed: key to value.
            log: By task_id, lines of its first attempt's log.
        """
        run, now = self.runs[dag_id, run_id], datetime.now(UTC)
        run.state, run.updated_at = state, now
        run.start = None if state == "queued" else run.start or now
        run.end = now if state in FINISHED else None
        for task_id, task_state in (tasks or {}).items():
            task = run.tasks.setdefault(task_id, FakeTask(task_id))
            task.state = task_state
            if task_state in ("running", *FINISHED):
                task.start, task.try_number = task.start or now, max(task.try_number, 1)
            task.end = now if task_state in FINISHED else None
        for task_id, values in (xcom or {}).items():
            run.tasks[task_id].xcom.update(values)
        for task_id, lines in (log or {}).items():
            run.tasks[task_id].log.extend(lines)
        return run
