"""``spec.runPolicy``: when runs start, how many at once, how long they may take, how long they are kept."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mlpipeline_operator.api.base import Wire, rule, rules

Duration = Annotated[
    str,
    Field(
        max_length=32,
        json_schema_extra=rules(
            rule(
                "self.matches('^([0-9]+h)?([0-9]+m)?([0-9]+s)?$') && size(self) > 1",
                "not a duration; write hours, minutes and seconds in this order: 90s, 15m, 1h30m, 48h",
            )
        ),
    ),
]
Concurrency = Literal["Allow", "Forbid", "Replace"]


class Backoff(Wire):
    """How long to wait before a failed step is tried again: twice as long each time."""

    delay: Duration | None = None
    """The wait before the first retry. Default: 10s."""
    max_delay: Duration | None = None
    """The longest wait. Default: 1h."""


class History(Wire):
    """How many finished runs are kept, of those that the operator created."""

    successful: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Runs that succeeded. The best one by the objective is kept beyond that. Default: 20."""
    failed: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Runs that failed, were cancelled or superseded. Default: 20."""


class RunPolicy(Wire):
    """When runs start, how many at once, how long they may take, and how long they are kept.

    None of it starts a run when it is changed.
    """

    on_change: bool | None = None
    """Whether the first apply, and each change of the workload (code, image, entrypoint, data, parameters,
    environment), starts a run. Default: true, but false where there is a `schedule`."""
    concurrency: Concurrency | None = None
    """What happens when a run is due while another one of this pipeline is under way. It is the same for
    runs of the schedule and for all others. Default: Allow.

    - Allow: both run at the same time
    - Forbid: the new one waits in Airflow's queue until the other one has ended; none is left out
    - Replace: the new one starts, and the other one is cancelled"""
    retries: Annotated[int, Field(ge=0, le=100)] | None = None
    """How often a failed step is tried again. It goes on from its last checkpoint. Default: 0."""
    backoff: Backoff | None = None
    """How long to wait before a failed step is tried again."""
    deadline: Duration | None = None
    """How long a run may take from its start in Airflow, retries included; then it is stopped and has failed.
    Default: no limit."""
    pending_deadline: Duration | None = None
    """How long a step may wait for room on a node or for its image; then its run is stopped and has failed.
    Default: 24h."""
    ttl_after_finished: Duration | None = None
    """How long after its end a run that the operator created is deleted, in Airflow too. The newest one and
    the best one stay. Default: never; see `history`."""
    history: History | None = None
    """How many finished runs are kept."""
