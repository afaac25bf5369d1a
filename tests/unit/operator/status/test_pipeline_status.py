"""Whether a pipeline is in place, and what it shows of its newest run."""

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpipeline_operator.api.states import RunState
from mlpipeline_operator.errors import NotReadyError, SpecError
from mlpipeline_operator.status.conditions import is_true
from mlpipeline_operator.status.observed import FINISHED
from mlpipeline_operator.status.pipeline import (
    Placed,
    Started,
    airflow_is_ready,
    invalid_pipeline_status,
    known_parse,
    pipeline_status,
)
from tests.unit.operator.status import objects
from tests.unit.operator.status.kstatus import verdict
from tests.unit.operator.status.objects import LATER, NOW
from tests.unit.operator.status.schema import assert_accepted

Body = dict[str, Any]

IN_PLACE = Placed(airflow_ready=True, airflow_message="", dag_hash="h1", parsed=True)
NO_AIRFLOW = Placed(airflow_ready=False, airflow_message="waiting for scheduler", dag_hash="h1", parsed=False)
NOT_PARSED = Placed(airflow_ready=True, airflow_message="", dag_hash="h1", parsed=False)
BROKEN = Placed(
    airflow_ready=True,
    airflow_message="",
    dag_hash="h1",
    parsed=False,
    import_error="digits/dag.py:3: SyntaxError: invalid syntax",
)
METRICS = [{"name": "val_accuracy", "value": "0.98125", "best": "0.9853"}]


def run(state: str | None, **status: Any) -> Body:
    if state is None:
        return objects.run()
    return objects.run({"state": state, "dagRunId": "digits-1.0a1b", "message": f"it is {state}", **status})


SUCCESS = run(
    "Succeeded",
    progress={"percent": 100, "summary": "100%", "updatedAt": "2026-11-22T12:00:00Z"},
    metrics=METRICS,
    metric="val_accuracy=0.9812",
    objectiveValue="0.98125",
    model={"uri": "pvc://claim/model", "digest": "sha256:abc"},
    startedAt="2026-11-22T12:00:00Z",
    finishedAt="2026-11-22T12:05:00Z",
)


def status_of(placed: Placed, last: Body | None = None, body: Body | None = None, **more: Any) -> Body:
    body = body or objects.pipeline()
    started = Started(("workload", 1) if last is not None else None)
    now = more.pop("now", NOW)
    status = pipeline_status(objects.pipeline_value(), body, placed, last, started, now=now)
    assert_accepted("MLPipeline", status)
    return status


def condition(status: Body, kind: str) -> Body:
    found: Body = next(each for each in status["conditions"] if each["type"] == kind)
    return found


@pytest.mark.parametrize(
    ("placed", "word", "reason"),
    [
        (NO_AIRFLOW, "InProgress", "WaitingForAirflow"),
        (NOT_PARSED, "InProgress", "WaitingForDag"),
        (BROKEN, "Failed", "ImportError"),
        (IN_PLACE, "Current", "InPlace"),
    ],
)
@pytest.mark.parametrize("state", [None, *get_args(RunState)])
def test_ready_tells_whether_it_is_in_place_and_never_how_a_run_fares(
    placed: Placed, word: str, reason: str, state: str | None
) -> None:
    status = status_of(placed, run(state))
    assert verdict({**objects.pipeline(), "status": status}) == word
    assert condition(status, "Ready")["reason"] == reason
    assert is_true(status, "Ready") is (word == "Current")


def test_kstatus_sees_that_an_edit_was_not_looked_at_yet() -> None:
    status = status_of(IN_PLACE, SUCCESS)
    assert verdict({**objects.pipeline(generation=2), "status": status}) == "InProgress"


@pytest.mark.parametrize(
    ("placed", "last", "state", "message"),
    [
        (NO_AIRFLOW, None, "WaitingForAirflow", "waiting for scheduler"),
        (NO_AIRFLOW, run("WaitingForAirflow", dagRunId=None), "WaitingForAirflow", "waiting for scheduler"),
        (NOT_PARSED, run(None), "WaitingForDag", "Airflow has not parsed this pipeline's DAG yet"),
        (IN_PLACE, None, "Idle", "no run yet"),
        (IN_PLACE, run(None), "Queued", "its run is about to start"),
        (IN_PLACE, run("PullingImage"), "PullingImage", "it is PullingImage"),
        (IN_PLACE, run("Running"), "Running", "it is Running"),
        (IN_PLACE, SUCCESS, "Succeeded", "it is Succeeded"),
        (IN_PLACE, run("Failed"), "Failed", "it is Failed"),
        (NOT_PARSED, run("Running"), "Running", "it is Running"),
        (BROKEN, run("Running"), "Invalid", "digits/dag.py:3: SyntaxError: invalid syntax"),
    ],
)
def test_the_state_tells_what_happens_now(
    placed: Placed, last: Body | None, state: str, message: str
) -> None:
    status = status_of(placed, last)
    assert (status["state"], status["message"]) == (state, message)


def test_the_newest_run_is_shown_in_short() -> None:
    status = status_of(IN_PLACE, SUCCESS)
    assert status["lastRun"] == {
        "name": "digits-1",
        "state": "Succeeded",
        "startedAt": "2026-11-22T12:00:00Z",
        "finishedAt": "2026-11-22T12:05:00Z",
        "metrics": METRICS,
        "model": {"uri": "pvc://claim/model", "digest": "sha256:abc"},
    }
    assert status["progress"] == "100%"
    assert status["metric"] == "val_accuracy=0.9812"
    assert status["objectiveValue"] == "0.98125"


def test_metric_and_model_stay_while_the_next_run_has_none() -> None:
    before = {**objects.pipeline(), "status": status_of(IN_PLACE, SUCCESS)}
    status = status_of(IN_PLACE, run("Running", progress={"percent": 0}), before)
    assert status["progress"] == "0%"
    assert status["metric"] == "val_accuracy=0.9812"
    assert status["model"] == {"uri": "pvc://claim/model", "digest": "sha256:abc"}
    assert "metrics" not in status["lastRun"]


@pytest.mark.parametrize(
    ("last", "value", "reason"),
    [
        (run(None), "Unknown", "NotFinished"),
        (run("Running"), "Unknown", "NotFinished"),
        (SUCCESS, "True", "Succeeded"),
        (run("Failed", failure={"reason": "OOMKilled", "message": "more"}), "False", "OOMKilled"),
        (run("Failed"), "False", "Failed"),
        (run("Superseded"), "Unknown", "Superseded"),
    ],
)
def test_how_the_newest_run_fared_is_a_condition_of_its_own(last: Body, value: str, reason: str) -> None:
    found = condition(status_of(IN_PLACE, last), "LastRunSucceeded")
    assert (found["status"], found["reason"]) == (value, reason)


def test_without_a_run_nothing_is_said_about_one() -> None:
    status = status_of(IN_PLACE)
    assert [each["type"] for each in status["conditions"]] == ["Ready"]
    assert "lastRun" not in status


def test_a_spec_that_cannot_be_followed_stalls_and_keeps_what_was_known() -> None:
    before = {**objects.pipeline(generation=2), "status": status_of(IN_PLACE, SUCCESS)}
    error = SpecError("spec.parameters: too many", reason="InvalidSpec")
    status = invalid_pipeline_status(before, error, now=LATER)
    assert_accepted("MLPipeline", status)
    assert verdict({**before, "status": status}) == "Failed"
    assert (status["state"], status["message"]) == ("Invalid", "spec.parameters: too many")
    assert status["observedGeneration"] == 2
    assert is_true(status, "LastRunSucceeded")
    assert status["metric"] == "val_accuracy=0.9812"
    assert status["runCount"] == 1


def test_what_is_still_on_its_way_does_not_stall() -> None:
    error = NotReadyError("exceeded quota: 3 config maps", reason="QuotaExceeded")
    status = invalid_pipeline_status(objects.pipeline(), error, now=NOW)
    assert_accepted("MLPipeline", status)
    assert verdict({**objects.pipeline(), "status": status}) == "InProgress"
    assert status["state"] == "Pending"


def test_an_edit_that_mends_the_spec_ends_the_stall() -> None:
    error = SpecError("spec.parameters: too many")
    bad = {**objects.pipeline(), "status": invalid_pipeline_status(objects.pipeline(), error, now=NOW)}
    status = status_of(IN_PLACE, None, {**bad, "metadata": {**bad["metadata"], "generation": 2}}, now=LATER)
    assert verdict({**objects.pipeline(generation=2), "status": status}) == "Current"
    assert condition(status, "Ready")["lastTransitionTime"] == "2026-11-22T12:05:00Z"


def test_ready_keeps_its_time_while_runs_come_and_go() -> None:
    first = {**objects.pipeline(), "status": status_of(IN_PLACE, run("Running"))}
    status = status_of(IN_PLACE, SUCCESS, first, now=LATER)
    assert condition(status, "Ready")["lastTransitionTime"] == "2026-11-22T12:00:00Z"


def test_what_an_airflow_lacks_is_told_by_itself_and_only_what_stalls_it_by_its_pipelines() -> None:
    starting = (False, "Airflow orchestra is not up (kubectl describe airflow orchestra)")
    assert airflow_is_ready(None, "orchestra") == starting
    assert airflow_is_ready(objects.airflow(), "orchestra") == starting
    stalled = {"conditions": [{"type": "Stalled", "status": "True"}], "message": "spec.version: no"}
    found = airflow_is_ready({**objects.airflow(), "status": stalled}, "orchestra")
    assert found == (False, "Airflow orchestra: spec.version: no")
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    assert airflow_is_ready({**objects.airflow(), "status": ready}, "orchestra") == (True, "")


@pytest.mark.parametrize(
    ("placed", "known"),
    [(IN_PLACE, (True, "")), (NOT_PARSED, (False, "")), (BROKEN, (False, BROKEN.import_error))],
)
def test_the_status_tells_after_a_restart_what_airflow_had_parsed(
    placed: Placed, known: tuple[bool, str]
) -> None:
    body = {**objects.pipeline(), "status": status_of(placed, SUCCESS)}
    assert known_parse(body, "h1") == known
    assert known_parse(body, "another") == (False, "")
    assert known_parse(objects.pipeline(), "h1") == (False, "")


placements = st.sampled_from([IN_PLACE, NO_AIRFLOW, NOT_PARSED, BROKEN])
last_runs = st.sampled_from([None, run(None), SUCCESS, *(run(state) for state in get_args(RunState))])


@given(st.lists(st.tuples(placements, last_runs), min_size=1, max_size=5))
def test_whatever_happens_the_status_is_accepted_and_settles(sequence: list[tuple[Placed, Body]]) -> None:
    body = objects.pipeline()
    for placed, last in sequence:
        status = status_of(placed, last, body)
        body = {**objects.pipeline(), "status": status}
        assert status_of(placed, last, body, now=LATER) == status


def test_the_states_of_a_run_are_all_states_of_a_pipeline_too() -> None:
    for state in get_args(RunState):
        status_of(IN_PLACE, run(state))
    assert set(get_args(RunState)) >= FINISHED
