"""The status of an ``MLPipelineRun``: how far, how good, and why it failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from mlpipeline_operator.build.run import trigger_of
from mlpipeline_operator.status.conditions import Condition, merge_conditions, timestamp
from mlpipeline_operator.status.failure import cause_of_failure
from mlpipeline_operator.status.observed import (
    CANCELLED,
    FAILED,
    FINISHED,
    SUCCEEDED,
    SUPERSEDED,
    SUSPENDED,
    Observed,
    iso,
    result_of,
)
from mlpipeline_operator.status.steps import run_steps
from mlpipeline_operator.validate import canonical_parameters
from mlpipeline_operator.values import Objective, PipelineValue, TrainingStep

__all__ = [
    "ended_status",
    "is_finished",
    "is_suspended",
    "metric_text",
    "resumed_status",
    "run_status",
    "untold_seconds",
]

Body = Mapping[str, Any]

# A worker's pod ends within 5 s of its task; the watch may bring it a little later.
_UNTOLD_SECONDS = 15.0


def is_finished(body: Body) -> bool:
    """Whether the run has ended, however."""
    return (body.get("status") or {}).get("state") in FINISHED


def untold_seconds(seen: Observed, now: datetime) -> float:
    """How much longer to wait for the true cause of a failure: Airflow may tell before the pod has ended.

    No time for a run that is not failed, or whose cause is known; else what is left of ``_UNTOLD_SECONDS``.
    """
    run = seen.run
    if run is None or run.state != "failed" or run.finished_at is None or seen.stop is not None:
        return 0.0
    results = [*seen.results.values(), *(pod.result for pod in seen.pods.values())]
    if any("failure" in result for result in results) or all(
        pod.state in ("Succeeded", "Failed") for pod in seen.pods.values()
    ):
        return 0.0
    return max(_UNTOLD_SECONDS - (now - run.finished_at).total_seconds(), 0.0)


def is_suspended(body: Body) -> bool:
    """Whether the run was stopped in Airflow, to be resumed there."""
    status = body.get("status") or {}
    return status.get("state") == SUSPENDED and bool(status.get("dagRunId"))


def resumed_status(body: Body, *, now: datetime) -> dict[str, Any]:
    """Status of a suspended run that goes on; what its stopped attempt left stays until the next pod."""
    status = {**(body.get("status") or {}), "state": "Queued", "message": "resumed"}
    status["resumedFrom"] = status.get("attempt")
    status.pop("stopping", None)
    return _finish(body, status, now)


def run_status(
    body: Body, pipeline: PipelineValue, dag_run_id: str | None, seen: Observed, *, now: datetime
) -> dict[str, Any]:
    """Compute the status of a run.

    Args:
        body: The run as observed. What its old status knows and nobody can tell any more is kept.
        pipeline: The validated pipeline that it is a run of.
        dag_run_id: Its id in Airflow, ``None`` until it was handed over.
        seen: The observations.
        now: The time to use for new transitions.
    """
    previous = body.get("status") or {}
    steps = run_steps(pipeline, previous, seen)
    result = _result(pipeline, seen)
    state, message = _state(seen, steps, previous)
    status: dict[str, Any] = {
        "trigger": trigger_of(body),
        "dagRunId": dag_run_id,
        "dagId": (previous.get("dagId") or pipeline.dag_id) if dag_run_id else None,
        "airflow": (previous.get("airflow") or pipeline.airflow) if dag_run_id else None,
        "state": state,
        "startedAt": iso(seen.run.started_at) if seen.run else None,
        "finishedAt": iso(seen.run.finished_at) if seen.run and state in FINISHED else None,
        "attempt": max((pod.attempt for pod in seen.pods.values()), default=previous.get("attempt")),
        "inputs": _inputs(body, pipeline, seen) | _told(result, "commit"),
        "resumedFrom": previous.get("resumedFrom"),
        "resumedFromEpoch": int(result.get("resumedFromEpoch", 0)) or previous.get("resumedFromEpoch"),
        "metrics": _metrics(result) or previous.get("metrics"),
        "steps": steps,
        "model": result.get("model") or previous.get("model"),
        "resourceUsage": result.get("resourceUsage") or previous.get("resourceUsage"),
        "message": message,
    }
    is_same_attempt = status["attempt"] == previous.get("attempt")
    status["progress"] = _progress(state, steps, previous if is_same_attempt else {}, now)
    status["objectiveValue"] = _objective_value(pipeline.objective, status["metrics"])
    status["metric"] = metric_text(pipeline.objective, status["metrics"])
    if seen.stop is not None and state != SUCCEEDED:
        known = {key: value for key, value in asdict(seen.stop).items() if value is not None}
        status["stopping"] = known if state not in FINISHED else None
    if state == FAILED:
        status["failure"] = cause_of_failure(body, pipeline, steps, seen) or previous.get("failure")
        status["message"] = (status["failure"] or {}).get("message", message)
    status["startedAt"] = status["startedAt"] or previous.get("startedAt")
    return _finish(body, status, now)


def ended_status(body: Body, state: str, reason: str, message: str, *, now: datetime) -> dict[str, Any]:
    """Status of a run that ends before Airflow had it: superseded, cancelled, or failed on a bad spec."""
    status = {**(body.get("status") or {}), "state": state, "message": message, "finishedAt": timestamp(now)}
    status.setdefault("trigger", trigger_of(body))
    if state == FAILED:
        status["failure"] = {"reason": reason, "message": message}
    return _finish(body, status, now)


def metric_text(objective: Objective | None, metrics: Sequence[Body] | None) -> str | None:
    """``name=value`` of the objective's metric, to four significant digits; ``None`` if not reported."""
    value = _objective_value(objective, metrics)
    if objective is None or value is None:
        return None
    try:
        return f"{objective.metric}={float(value):.4g}"
    except ValueError:
        return f"{objective.metric}={value}"


def _finish(body: Body, status: dict[str, Any], now: datetime) -> dict[str, Any]:
    generation = body["metadata"].get("generation", 0)
    previous = (body.get("status") or {}).get("conditions") or ()
    conditions = _conditions(status)
    status["conditions"] = merge_conditions(previous, conditions, generation=generation, now=now)
    status["observedGeneration"] = generation
    return {key: value for key, value in status.items() if value not in (None, "", [], {})}


def _conditions(status: Body) -> list[Condition]:
    """Succeeded and Failed are for kubectl wait; Reconciling and Stalled for kstatus."""
    state, message = status["state"], status.get("message") or ""
    reason = (status.get("failure") or {}).get("reason") or state
    if state == SUCCEEDED:
        return [Condition("Succeeded", "True", state, message), Condition("Failed", "False", state)]
    if state == FAILED:
        return [
            Condition("Succeeded", "False", reason, message),
            Condition("Failed", "True", reason, message),
            Condition("Stalled", "True", reason, message),
        ]
    if state == CANCELLED:
        return [Condition("Succeeded", "False", state, message), Condition("Failed", "True", state, message)]
    if state == SUSPENDED:
        return [Condition("Succeeded", "Unknown", state, message), Condition("Failed", "False", state)]
    if state == SUPERSEDED:
        return [Condition("Succeeded", "False", state, message), Condition("Failed", "False", state, message)]
    return [
        Condition("Succeeded", "Unknown", state, message),
        Condition("Failed", "False", state),
        Condition("Reconciling", "True", state, message),
    ]


def _state(seen: Observed, steps: list[dict[str, Any]], previous: Body) -> tuple[str, str]:
    if seen.waiting is not None:
        return seen.waiting
    if seen.run is None and not seen.pods:
        return previous.get("state") or "Queued", previous.get("message") or ""
    if seen.run is not None and seen.run.state == "success":
        return SUCCEEDED, "all steps succeeded"
    if seen.run is not None and seen.run.state == "failed":
        if seen.stop is not None:
            return seen.stop.state, seen.stop.message
        return FAILED, "the run failed in Airflow"
    if seen.stop is not None:
        return previous.get("state") or "Running", f"being stopped: {seen.stop.message}"
    if seen.run is not None and seen.run.state == "queued" and seen.paused:
        return "Queued", f"somebody paused the DAG {seen.run.run.dag_id} in Airflow: unpause it there"
    active = [step for step in steps if step["state"] not in ("Succeeded", "Skipped", "Pending")]
    if not active:
        done = sum(step["state"] == "Succeeded" for step in steps)
        return ("Running" if done else "Queued"), f"{done} of {len(steps)} steps done"
    step = next((each for each in active if each["state"] == "Running"), active[0])
    message = step.get("message") or f"step {step['name']}: {step['state']}"
    state = step["state"]
    # A step that failed or waits for its retry leaves the run running until Airflow says that it ended.
    return (state if state in ("Queued", "PullingImage") else "Running"), message


def _progress(state: str, steps: Sequence[Body], previous: Body, now: datetime) -> dict[str, Any]:
    """Steps that succeeded of all, in percent; within an attempt it only grows."""
    done = sum(step["state"] == "Succeeded" for step in steps)
    percent = 100 if state == SUCCEEDED else 100 * done // max(len(steps), 1)
    before = previous.get("progress") or {}
    if before.get("percent", -1) >= percent:
        return dict(before)
    return {"percent": percent, "summary": f"{percent}%", "updatedAt": timestamp(now)}


def _result(pipeline: PipelineValue, seen: Observed) -> dict[str, Any]:
    """All steps' metrics together, and the last model: of two that tell the same the later step's counts."""
    merged: dict[str, Any] = {}
    names = seen.pods if pipeline.user_dag is not None else [step.name for step in pipeline.steps]
    for name in names:
        result = result_of(name, seen)
        for key in ("metrics", "bestMetrics"):
            merged[key] = {**merged.get(key, {}), **result.get(key, {})}
        merged |= _told(result, "model", "resourceUsage", "commit", "resumedFromEpoch")
    return merged


def _told(result: Body, *keys: str) -> dict[str, Any]:
    return {key: result[key] for key in keys if key in result}


def _metrics(result: Body) -> list[dict[str, str]]:
    best = result.get("bestMetrics") or {}
    return [
        {"name": name, "value": value, **({"best": best[name]} if name in best else {})}
        for name, value in sorted((result.get("metrics") or {}).items())
    ]


def _objective_value(objective: Objective | None, metrics: Sequence[Body] | None) -> str | None:
    if objective is None:
        return None
    for metric in metrics or ():
        if metric["name"] == objective.metric:
            return str(metric["value"])
    return None


def _inputs(body: Body, pipeline: PipelineValue, seen: Observed) -> dict[str, Any]:
    """What the run was given; fixed once it has been handed to Airflow."""
    previous = body.get("status") or {}
    if previous.get("dagRunId") and previous.get("inputs"):
        return dict(previous["inputs"])
    overrides = (body.get("spec") or {}).get("parameters")
    if overrides is None and seen.run is not None:
        # Whoever started it in Airflow said so there.
        told = seen.run.run.conf.get("parameters")
        overrides = {name: str(value) for name, value in told.items()} if isinstance(told, dict) else None
    overrides = overrides or {}
    parameters = {**pipeline.parameters, **canonical_parameters(overrides)}
    inputs: dict[str, Any] = {"parameters": parameters, "sourceHash": pipeline.run_hash}
    step = next(iter(pipeline.steps), None)
    if isinstance(step, TrainingStep):
        inputs |= {"image": step.image, "data": step.data_uri or step.dataset}
    return {key: value for key, value in inputs.items() if value}
