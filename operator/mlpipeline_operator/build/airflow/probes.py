"""How the kubelet sees whether a component is up.

A start shows within a second or two. A component that runs is left alone for minutes: a machine that is slow
for a while, or a database that is away, is no reason to kill what would go on by itself.
"""

from __future__ import annotations

from typing import Any, Final

from mlpipeline_operator import names
from mlpipeline_operator.build.airflow.files import script

__all__ = ["probes"]

_SCHEDULER_PORT: Final = 8974
# Airflow's job_type of those without a port of their own to ask.
_JOBS: Final = {"dag-processor": "DagProcessorJob", "triggerer": "TriggererJob"}


def probes(component: str) -> dict[str, Any]:
    """Return ``startupProbe``, ``readinessProbe`` and ``livenessProbe`` of a component."""
    if component == "api-server":
        # /monitor/health answers 200 whatever is wrong, and asks the database; these do neither.
        check = _http("/api/v2/version", names.AIRFLOW_PORT)
        found = _probes(check, check, start=1, ready=5, live=15)
        # Ready means that tasks can start: what they report to may be built at the first request only.
        found["startupProbe"].update(_http("/execution/health", names.AIRFLOW_PORT))
        return found
    if component == "scheduler":
        check = _http("/health", _SCHEDULER_PORT)
        return _probes(check, check, start=1, ready=10, live=30)
    job = _JOBS[component]
    found = _probes(_exec(job), _exec(job, "--alive"), start=2, ready=15, live=60)
    # No start is quicker, and each look is a process that takes CPU from it.
    found["startupProbe"]["initialDelaySeconds"] = 5
    return found


def _probes(
    check: dict[str, Any], alive: dict[str, Any], *, start: int, ready: int, live: int
) -> dict[str, Any]:
    """``start``, ``ready``, ``live``: seconds between two looks."""
    return {
        # A quarter of an hour: the start waits for the database and its migration.
        "startupProbe": {
            **check,
            "periodSeconds": start,
            "timeoutSeconds": 10,
            "failureThreshold": 900 // start,
        },
        "readinessProbe": {**check, "periodSeconds": ready, "timeoutSeconds": 10, "failureThreshold": 3},
        "livenessProbe": {**alive, "periodSeconds": live, "timeoutSeconds": 20, "failureThreshold": 10},
    }


def _http(path: str, port: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": port, "scheme": "HTTP"}}


def _exec(*arguments: str) -> dict[str, Any]:
    return {"exec": {"command": ["python", script("health"), *arguments]}}
