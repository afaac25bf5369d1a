"""Which finished runs are deleted: those beyond the history's limits, and those whose time is over. Pure.

Only runs that the operator created go: Git would create the others anew, and train for ever. The newest run
and the best one stay, so that status keeps what it shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from mlpipeline_operator.build.run import age, is_operator_made
from mlpipeline_operator.status.observed import SUCCEEDED
from mlpipeline_operator.status.run import is_finished
from mlpipeline_operator.values import Objective, PipelineValue

__all__ = ["best_run", "expired_runs"]

Body = Mapping[str, Any]


def expired_runs(
    value: PipelineValue, runs: Sequence[Body], now: datetime
) -> tuple[list[Body], float | None]:
    """Return the runs to delete now, and in how many seconds the next one is due (``None``: not by time)."""
    policy = value.policy
    kept = [max(runs, key=age, default=None), best_run(value.objective, runs)]
    finished = sorted(
        (run for run in runs if is_finished(run) and is_operator_made(run) and run not in kept),
        key=age,
        reverse=True,
    )
    good = [run for run in finished if run["status"]["state"] == SUCCEEDED]
    bad = [run for run in finished if run["status"]["state"] != SUCCEEDED]
    spare_good = policy.keep_successful - sum(_ended_well(run) for run in kept if run is not None)
    spare_bad = policy.keep_failed - sum(_ended_badly(run) for run in kept if run is not None)
    expired = good[max(spare_good, 0) :] + bad[max(spare_bad, 0) :]
    if policy.ttl_after_finished is None:
        return expired, None
    waits = []
    for run in finished:
        if run in expired:
            continue
        ended = run["status"].get("finishedAt") or run["metadata"]["creationTimestamp"]
        over = datetime.fromisoformat(ended) + timedelta(seconds=policy.ttl_after_finished)
        if over <= now:
            expired.append(run)
        else:
            waits.append((over - now).total_seconds())
    return expired, min(waits, default=None)


def best_run(objective: Objective | None, runs: Sequence[Body]) -> Body | None:
    """The run that ended well with the best value of the objective; of equals the oldest."""
    if objective is None:
        return None
    sign = 1 if objective.goal == "Maximize" else -1
    rated = []
    for run in sorted(runs, key=age):
        try:
            value = float((run.get("status") or {}).get("objectiveValue", ""))
        except ValueError:
            continue
        # A value that is no number is best at nothing.
        if _ended_well(run) and value == value:
            rated.append((sign * value, run))
    return max(rated, key=lambda each: each[0])[1] if rated else None


def _ended_well(run: Body) -> bool:
    return bool((run.get("status") or {}).get("state") == SUCCEEDED)


def _ended_badly(run: Body) -> bool:
    return is_finished(run) and not _ended_well(run)
