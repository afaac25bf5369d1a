"""What is known of a run besides its own resource, and the words for its states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mlpipeline_operator.status.conditions import timestamp
from mlpipeline_operator.status.pods import PodView
from mlpipeline_operator.status.result import clean_result

if TYPE_CHECKING:
    from mlpipeline_operator.airflow import RunView, TaskInstance

__all__ = [
    "CANCELLED",
    "FAILED",
    "FINISHED",
    "RUN_TO_ITS_END",
    "SUCCEEDED",
    "SUPERSEDED",
    "SUSPENDED",
    "Observed",
    "Stop",
    "iso",
    "result_of",
]

Body = Mapping[str, Any]

SUCCEEDED = "Succeeded"
FAILED = "Failed"
# The workload changed before this run was handed to Airflow, so it was never started.
SUPERSEDED = "Superseded"
CANCELLED = "Cancelled"
# Stopped, or not started, until somebody says otherwise.
SUSPENDED = "Suspended"
FINISHED = frozenset({SUCCEEDED, FAILED, SUPERSEDED, CANCELLED})
# Those of a run that was started.
RUN_TO_ITS_END = FINISHED - {SUPERSEDED}


@dataclass(frozen=True, slots=True)
class Stop:
    """Why the operator stops a run in Airflow, the ``state`` that it is to have then, whose fault it is."""

    state: str
    reason: str
    message: str
    step: str | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """What is known of a run besides its own resource.

    Attributes:
        waiting: State and message while it has not been handed to Airflow, else ``None``.
        run: Airflow's view of it, ``None`` where Airflow has not been asked yet.
        pods: The latest attempt's pod of each step, by step name.
        stop: Why it is being stopped, if it is.
        tasks: The run's tasks as they are now, where the pipeline's steps are those of a DAG of the user's.
        paused: Whether its DAG is paused in Airflow.
        results: Steps' results as Airflow's XCom has them, for pods that are gone, by step name.
    """

    waiting: tuple[str, str] | None = None
    run: RunView | None = None
    pods: Mapping[str, PodView] = field(default_factory=dict)
    stop: Stop | None = None
    tasks: tuple[TaskInstance, ...] = ()
    paused: bool = False
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def result_of(step: str, seen: Observed) -> Body:
    """A step's result: from its pod, else as Airflow has kept it."""
    pod = seen.pods.get(step)
    return pod.result if pod is not None and pod.result else clean_result(seen.results.get(step))


def iso(moment: datetime | None) -> str | None:
    """A time as the API server writes it."""
    return timestamp(moment) if moment is not None else None
