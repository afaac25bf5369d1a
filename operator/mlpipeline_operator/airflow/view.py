"""What the poller knows of an Airflow: read by the reconciles, written by the poller alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from mlpipeline_operator.airflow.models import DagRun, Health, ImportFailure, RunKey, TaskInstance
from mlpipeline_operator.errors import OperatorError

__all__ = ["AirflowView", "Awaited", "AwaitedDag", "Change", "DagView", "RunView"]


@dataclass(frozen=True, slots=True)
class AwaitedDag:
    """A DAG that Airflow should have parsed.

    Attributes:
        hash: The hash that its tag should show (see ``names.dag_hash_tag``).
        path: Its file in the bundle: by it an import error finds the DAG that was never parsed.
        pipeline: The pipeline that it is of, where the dag_id does not tell.
    """

    hash: str
    path: str
    pipeline: str = ""


@dataclass(frozen=True, slots=True)
class Awaited:
    """What the operator waits for in one Airflow. It does no harm to name what has come already.

    Attributes:
        dags: By dag_id, every DAG that Airflow should have.
        runs: The runs that have not ended, as far as the operator knows.
    """

    dags: Mapping[str, AwaitedDag] = field(default_factory=dict)
    runs: Collection[RunKey] = ()


@dataclass(frozen=True, slots=True)
class DagView:
    """A DAG, as Airflow showed it last.

    Attributes:
        hashes: The hashes that its tags carry; none before the first good parse.
        import_error: Why Airflow cannot parse its file now, if so.
    """

    hashes: frozenset[str] = frozenset()
    import_error: ImportFailure | None = None
    paused: bool = False


@dataclass(frozen=True, slots=True)
class RunView:
    """A run, as Airflow showed it last.

    Attributes:
        run: The run itself, with what it was triggered with.
        tasks: Its task instances, read once after it finished; None before.
    """

    run: DagRun
    tasks: tuple[TaskInstance, ...] | None = None

    @property
    def state(self) -> str:
        """``queued``, ``running``, ``success`` or ``failed``."""
        return self.run.state

    @property
    def finished(self) -> bool:
        """Whether the run has ended, well or badly."""
        return self.run.finished

    @property
    def queued_at(self) -> datetime | None:
        """When it was triggered."""
        return self.run.queued_at

    @property
    def started_at(self) -> datetime | None:
        """When the scheduler started it."""
        return self.run.started_at

    @property
    def finished_at(self) -> datetime | None:
        """When it ended."""
        return self.run.finished_at


@dataclass(frozen=True, slots=True)
class Change:
    """What one poll changed in the view.

    Attributes:
        dags: The dag_ids whose DagView is new, other or gone.
        runs: The runs whose RunView is new, other or gone.
        airflow: Whether ``reachable``, ``error``, ``synced`` or ``health`` is other than before.
    """

    dags: frozenset[str] = frozenset()
    runs: frozenset[RunKey] = frozenset()
    airflow: bool = False

    @property
    def dag_ids(self) -> frozenset[str]:
        """Every dag_id that is concerned, by its DAG or by one of its runs."""
        return self.dags.union(dag_id for dag_id, _ in self.runs)

    def __bool__(self) -> bool:
        """Whether anything changed."""
        return bool(self.dags or self.runs or self.airflow)


@dataclass(slots=True)
class AirflowView:
    """An Airflow, as the last poll left it.

    Attributes:
        reachable: The last poll was answered.
        synced: At least one poll was answered in full: what the view does not have, Airflow did not have
            either (of what was awaited then).
        error: Why the last poll failed, if it did.
        health: State of the components, renewed at the idle interval; None before the first poll.
        dags: By dag_id, of the operator's own DAGs and of those that are awaited.
        runs: The runs that are awaited, and the latest others of those DAGs.
        absent: Awaited runs that Airflow does not have (never triggered, or deleted there).
    """

    reachable: bool = False
    synced: bool = False
    error: OperatorError | None = None
    health: Health | None = None
    dags: dict[str, DagView] = field(default_factory=dict)
    runs: dict[RunKey, RunView] = field(default_factory=dict)
    absent: set[RunKey] = field(default_factory=set)
