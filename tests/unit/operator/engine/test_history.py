"""Which finished runs are deleted, and which never are."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpipeline_operator import names
from mlpipeline_operator.reconcile.history import best_run, expired_runs
from mlpipeline_operator.validate import validate_pipeline
from mlpipeline_operator.values import Images, PipelineValue

Body = dict[str, Any]
IMAGES = Images("images.test/airflow:1", "images.test/trainer:1", "images.test/postgres:1")
NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


def value(goal: str = "Maximize", **policy: Any) -> PipelineValue:
    body = {
        "metadata": {"name": "digits", "namespace": "research", "uid": "u", "generation": 1},
        "spec": {
            "training": {"dataset": "mnist"},
            "objective": {"metric": "accuracy", "goal": goal},
            "runPolicy": policy,
        },
    }
    return validate_pipeline(body, IMAGES)


def run(number: int, state: str = "Succeeded", accuracy: float | None = None, made: bool = True) -> Body:
    """The ``number``-th run; each ends a minute after the one before, the 60th now."""
    moment = (NOW - timedelta(minutes=60 - number)).isoformat().replace("+00:00", "Z")
    status: Body = {"state": state, "finishedAt": moment}
    if accuracy is not None:
        status["objectiveValue"] = str(accuracy)
    labels = names.pipeline_labels("digits") if made else {}
    metadata = {"name": f"digits-{number}", "creationTimestamp": moment, "labels": labels}
    return {"metadata": metadata, "status": status}


def expired(pipeline: PipelineValue, runs: list[Body]) -> list[str]:
    return sorted(each["metadata"]["name"] for each in expired_runs(pipeline, runs, NOW)[0])


def test_the_oldest_go_once_there_are_more_than_the_limit() -> None:
    runs = [run(number) for number in range(1, 6)]
    assert expired(value(history={"successful": 3}), runs) == ["digits-1", "digits-2"]


def test_each_kind_of_end_has_its_own_limit() -> None:
    runs = [run(1), run(2, "Failed"), run(3, "Cancelled"), run(4, "Superseded"), run(5)]
    assert expired(value(history={"failed": 1}), runs) == ["digits-2", "digits-3"]


def test_the_newest_and_the_best_stay() -> None:
    runs = [run(1, accuracy=0.99), run(2, accuracy=0.9), run(3, accuracy=0.8), run(4, "Failed")]
    assert expired(value(history={"successful": 1, "failed": 0}), runs) == ["digits-2", "digits-3"]
    assert expired(value(ttlAfterFinished="1s"), runs) == ["digits-2", "digits-3"]


def test_a_run_that_a_user_created_is_never_deleted() -> None:
    runs = [run(number, made=False) for number in range(1, 40)]
    assert expired(value(history={"successful": 1}, ttlAfterFinished="1s"), runs) == []


def test_a_run_that_has_not_ended_is_never_deleted() -> None:
    runs = [run(number, "Running") for number in range(1, 40)]
    assert expired(value(history={"successful": 1}, ttlAfterFinished="1s"), runs) == []


def test_a_time_that_is_over_deletes_and_the_next_one_is_told() -> None:
    runs = [run(number) for number in (10, 40, 59)]
    gone, wait = expired_runs(value(ttlAfterFinished="30m"), runs, NOW)
    assert [each["metadata"]["name"] for each in gone] == ["digits-10"]
    assert wait == timedelta(minutes=10).total_seconds()


def test_without_a_time_nothing_is_waited_for() -> None:
    assert expired_runs(value(), [run(1), run(2)], NOW) == ([], None)


@pytest.mark.parametrize(("goal", "best"), [("Maximize", "digits-2"), ("Minimize", "digits-1")])
def test_the_best_run_is_the_goals(goal: str, best: str) -> None:
    runs = [run(1, accuracy=0.1), run(2, accuracy=0.9), run(3, "Failed", 5.0), run(4, accuracy=float("nan"))]
    found = best_run(value(goal).objective, runs)
    assert found is not None
    assert found["metadata"]["name"] == best


@given(
    st.lists(
        st.tuples(st.sampled_from(["Succeeded", "Failed", "Running"]), st.booleans()), min_size=1, max_size=30
    ),
    st.integers(1, 5),
    st.integers(0, 5),
)
def test_deleting_settles_at_once(states: list[tuple[str, bool]], good: int, bad: int) -> None:
    pipeline = value(history={"successful": good, "failed": bad})
    runs = [run(number, state, made=made) for number, (state, made) in enumerate(states, 1)]
    gone, _ = expired_runs(pipeline, runs, NOW)
    left = [each for each in runs if each not in gone]
    assert expired_runs(pipeline, left, NOW)[0] == []
    assert runs[-1] in left
