"""``spec.runPolicy`` -> ``RunPolicy``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mlpipeline_operator.api.policy import RunPolicy as WireRunPolicy
from mlpipeline_operator.errors import SpecError
from mlpipeline_operator.validate.durations import seconds
from mlpipeline_operator.values import RunPolicy

__all__ = ["run_policy"]

_FIELD = "spec.runPolicy"


def run_policy(wire: WireRunPolicy | None, *, on_change: bool) -> RunPolicy:
    """Return the policy with every default filled in.

    Args:
        wire: What the user wrote.
        on_change: The default for ``onChange``.

    Raises:
        SpecError: A duration is none, or the longest wait is shorter than the first.
    """
    policy = RunPolicy(on_change=on_change)
    if wire is None:
        return policy
    backoff, history = wire.backoff, wire.history
    times = {
        "retry_delay": (backoff and backoff.delay, "backoff.delay"),
        "max_retry_delay": (backoff and backoff.max_delay, "backoff.maxDelay"),
        "deadline": (wire.deadline, "deadline"),
        "pending_deadline": (wire.pending_deadline, "pendingDeadline"),
        "ttl_after_finished": (wire.ttl_after_finished, "ttlAfterFinished"),
    }
    given: dict[str, Any] = {
        "on_change": wire.on_change,
        "concurrency": wire.concurrency,
        "retries": wire.retries,
        "keep_successful": history and history.successful,
        "keep_failed": history and history.failed,
        **{name: seconds(text, f"{_FIELD}.{field}") for name, (text, field) in times.items() if text},
    }
    policy = replace(policy, **{name: value for name, value in given.items() if value is not None})
    for name, field in (("deadline", "deadline"), ("pending_deadline", "pendingDeadline")):
        if getattr(policy, name) == 0:
            raise SpecError(f"{_FIELD}.{field}: no run could meet a deadline of 0 seconds")
    if policy.max_retry_delay < policy.retry_delay:
        raise SpecError(f"{_FIELD}.backoff: maxDelay must not be shorter than delay")
    return policy
