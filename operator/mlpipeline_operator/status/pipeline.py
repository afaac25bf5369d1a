"""The status of an ``MLPipeline``: is it in place, and how did its last run go.

``Ready`` tells whether the pipeline is in place (Airflow up, this generation's DAG parsed), never how a run
fares: else a six-hour training would block a sync wave. That is what ``LastRunSucceeded`` is for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlpipeline_operator.errors import OperatorError, SpecError
from mlpipeline_operator.status.conditions import Condition, is_true, merge_conditions
from mlpipeline_operator.status.observed import CANCELLED, FAILED, FINISHED, SUCCEEDED, SUSPENDED
from mlpipeline_operator.values import PipelineValue

__all__ = ["Placed", "Started", "invalid_pipeline_status", "known_parse", "pipeline_status"]

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Placed:
    """How far the pipeline is in place.

    Attributes:
        airflow_ready: Whether its Airflow is up.
        airflow_message: What it waits for, where it is not.
        dag_hash: Hash of the DAG that this generation wants.
        parsed: Whether Airflow shows that hash.
        import_error: Airflow's words, where the DAG does not import.
        undelivered: What to do, where the DAG does not reach an external Airflow.
    """

    airflow_ready: bool
    airflow_message: str
    dag_hash: str
    parsed: bool
    import_error: str = ""
    undelivered: str = ""


@dataclass(frozen=True, slots=True)
class Started:
    """Which runs the operator has started or taken note of, for the status to remember.

    Attributes:
        workload: Hash of the workload that the newest operator-made run is for, and that run's number.
        request: The newest value of the annotation that asks for a run, once it had one.
        mirrored_until: Runs that Airflow queued up to here have a resource, or had one.
    """

    workload: tuple[str, int] | None = None
    request: str | None = None
    mirrored_until: str | None = None


def pipeline_status(
    value: PipelineValue,
    body: Body,
    placed: Placed,
    last_run: Body | None,
    started: Started,
    *,
    now: datetime,
) -> dict[str, Any]:
    """Compute the status of a valid pipeline.

    Args:
        value: The validated resource.
        body: The resource as observed.
        placed: How far it is in place.
        last_run: The newest MLPipelineRun, if any.
        started: Which runs were started.
        now: The time to use for new transitions.
    """
    state, message = _state(value, placed, last_run)
    if state == "Idle" and started.workload is not None and started.workload[0] == value.run_hash:
        message = "no run: this workload was run before, and its run deleted"
    conditions = _placement(placed)
    run = _last_run(last_run, state)
    if last_run is not None:
        conditions.append(_run_condition(last_run))
    run_status = (last_run or {}).get("status") or {}
    shown = _shown(body, run_status, last_run is not None)
    status: dict[str, Any] = {
        "state": state,
        "message": message,
        "airflow": value.airflow,
        "dagId": value.dag_id,
        "dagHash": placed.dag_hash,
        "runHash": started.workload[0] if started.workload else None,
        "runCount": started.workload[1] or None if started.workload else None,
        "runRequest": started.request,
        "mirroredUntil": started.mirrored_until,
        "lastRun": run,
        **shown,
    }
    return _finish(body, status, conditions, now)


def known_parse(body: Body, dag_hash: str) -> tuple[bool, str]:
    """What the status says of a DAG: was it parsed, and what did not import.

    After a restart, what was true stays so until Airflow was asked.
    """
    status = body.get("status") or {}
    if status.get("dagHash") != dag_hash:
        return False, ""
    conditions = {each["type"]: each for each in status.get("conditions") or ()}
    failed = conditions.get("Stalled", {}).get("reason") == "ImportError"
    return is_true(status, "Ready"), status.get("message", "") if failed else ""


def invalid_pipeline_status(body: Body, error: OperatorError, *, now: datetime) -> dict[str, Any]:
    """Status of a pipeline that cannot be put in place as it is written; its earlier runs stay shown."""
    status = dict(body.get("status") or {})
    status |= {"state": "Invalid" if isinstance(error, SpecError) else "Pending", "message": error.message}
    conditions = [Condition("Ready", "False", error.reason, error.message)]
    kind = "Stalled" if isinstance(error, SpecError) else "Reconciling"
    conditions.append(Condition(kind, "True", error.reason, error.message))
    kept = {"LastRunSucceeded"}
    for each in status.get("conditions") or ():
        if each["type"] in kept:
            conditions.append(
                Condition(each["type"], each["status"], each["reason"], each.get("message", ""))
            )
    return _finish(body, status, conditions, now)


def _finish(body: Body, status: dict[str, Any], conditions: list[Condition], now: datetime) -> dict[str, Any]:
    generation = body["metadata"].get("generation", 0)
    previous = (body.get("status") or {}).get("conditions") or ()
    status["observedGeneration"] = generation
    status["conditions"] = merge_conditions(previous, conditions, generation=generation, now=now)
    return {key: value for key, value in status.items() if value not in (None, "", {}, [])}


def _state(value: PipelineValue, placed: Placed, last_run: Body | None) -> tuple[str, str]:
    """A run that is under way, or ended, says more than what the next one would wait for."""
    run_status = (last_run or {}).get("status") or {}
    run_state = run_status.get("state")
    if placed.import_error:
        return "Invalid", placed.import_error
    if run_state is not None and run_state not in FINISHED and run_status.get("dagRunId"):
        return run_state, run_status.get("message", "")
    if value.suspend:
        return SUSPENDED, "spec.suspend is true: no run starts"
    if not placed.airflow_ready and run_state not in FINISHED:
        return "WaitingForAirflow", placed.airflow_message
    if not placed.parsed and run_state not in FINISHED:
        return "WaitingForDag", placed.undelivered or "Airflow has not parsed this pipeline's DAG yet"
    if run_state is None:
        return ("Queued", "its run is about to start") if last_run else ("Idle", "no run yet")
    return run_state, run_status.get("message", "")


def _placement(placed: Placed) -> list[Condition]:
    if placed.import_error:
        error = ("ImportError", placed.import_error)
        return [Condition("Ready", "False", *error), Condition("Stalled", "True", *error)]
    if not placed.airflow_ready:
        why = ("WaitingForAirflow", placed.airflow_message)
    elif not placed.parsed:
        waiting = f"Airflow has not parsed DAG version {placed.dag_hash} yet"
        why = ("WaitingForDag", placed.undelivered or waiting)
    else:
        return [Condition("Ready", "True", "InPlace", f"Airflow has parsed DAG version {placed.dag_hash}")]
    return [Condition("Ready", "False", *why), Condition("Reconciling", "True", *why)]


def _run_condition(run: Body) -> Condition:
    name, status = run["metadata"]["name"], run.get("status") or {}
    state = status.get("state", "Queued")
    if state == SUCCEEDED:
        return Condition("LastRunSucceeded", "True", state, f"run {name} succeeded")
    if state == FAILED:
        reason = (status.get("failure") or {}).get("reason") or state
        return Condition("LastRunSucceeded", "False", reason, f"run {name}: {status.get('message', '')}")
    if state == CANCELLED:
        return Condition("LastRunSucceeded", "False", state, f"run {name} was cancelled")
    if state in FINISHED:
        return Condition("LastRunSucceeded", "Unknown", state, f"run {name} was superseded")
    # Reason and message leave out how far it is: that changes too often for a condition.
    return Condition("LastRunSucceeded", "Unknown", "NotFinished", f"run {name} has not ended")


def _last_run(run: Body | None, state: str) -> dict[str, Any] | None:
    """A run whose own status was not written yet is in the state that the pipeline waits in."""
    if run is None:
        return None
    status = run.get("status") or {}
    shown = {key: status.get(key) for key in ("startedAt", "finishedAt", "metrics", "model")}
    waiting = state if state != "Invalid" else None
    shown = {"name": run["metadata"]["name"], "state": status.get("state") or waiting, **shown}
    return {key: value for key, value in shown.items() if value}


def _shown(body: Body, run_status: Body, has_run: bool) -> dict[str, Any]:
    """Progress is the newest run's; metric and model stay those of the last run that had any."""
    previous = body.get("status") or {}
    progress = (run_status.get("progress") or {}).get("summary", "0%")
    return {
        "progress": progress if has_run else None,
        "metric": run_status.get("metric") or previous.get("metric"),
        "objectiveValue": run_status.get("objectiveValue") or previous.get("objectiveValue"),
        "model": run_status.get("model") or previous.get("model"),
    }


def airflow_is_ready(airflow: Body | None, name: str) -> tuple[bool, str]:
    """Whether an Airflow resource is Ready, and what to say where it is not.

    How its start goes is told by its own status alone: told here too, it would rewrite the status of every
    pipeline at each step.
    """
    status = (airflow or {}).get("status") or {}
    if is_true(status, "Ready"):
        return True, ""
    if is_true(status, "Stalled"):
        return False, f"Airflow {name}: {status.get('message', '')}"
    if ((airflow or {}).get("spec") or {}).get("external"):
        return False, f"Airflow {name} cannot be reached (kubectl describe airflow {name})"
    return False, f"Airflow {name} is not up (kubectl describe airflow {name})"
