"""How a run fares: from its pods, from Airflow, and from what was known before."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpipeline_operator.status.conditions import is_true
from mlpipeline_operator.status.observed import Observed, Stop
from mlpipeline_operator.status.pods import newest_pods
from mlpipeline_operator.status.run import (
    ended_status,
    is_finished,
    is_suspended,
    metric_text,
    resumed_status,
    run_status,
    untold_seconds,
)
from mlpipeline_operator.values import Objective
from tests.unit.operator.status import objects
from tests.unit.operator.status.kstatus import verdict
from tests.unit.operator.status.objects import DAG_ID, LATER, NOW, RESULT, RUN_ID, seen_by_airflow
from tests.unit.operator.status.schema import assert_accepted

Body = dict[str, Any]


def observed(*pods: Body, **seen: Any) -> Observed:
    return Observed(pods=newest_pods(pods, DAG_ID, RUN_ID), **seen)


def status_of(seen: Observed, body: Body | None = None, *, now: datetime = NOW, **spec: Any) -> Body:
    body = body or objects.run()
    handed_over = None if seen.waiting else RUN_ID
    status = run_status(body, objects.pipeline_value(**spec), handed_over, seen, now=now)
    assert_accepted("MLPipelineRun", status)
    return status


def succeeded() -> Observed:
    return observed(objects.ended(0, RESULT), run=seen_by_airflow("success", "success"))


FAILURE = {
    "reason": "ValueError",
    "message": "train.py:12: Shapes (None, 1) and (None, 10) are incompatible",
    "exitCode": 1,
}


def failed(pod: Body | None = None, task: str = "failed", **seen: Any) -> Observed:
    pods = [pod] if pod else []
    return observed(*pods, run=seen_by_airflow("failed", task), **seen)


@pytest.mark.parametrize(
    ("seen", "state", "message"),
    [
        (
            Observed(waiting=("WaitingForAirflow", "waiting for scheduler")),
            "WaitingForAirflow",
            "waiting for",
        ),
        (Observed(waiting=("WaitingForDag", "not parsed yet")), "WaitingForDag", "not parsed"),
        (
            Observed(run=seen_by_airflow("queued"), paused=True),
            "Queued",
            f"paused the DAG {DAG_ID} in Airflow",
        ),
        (observed(), "Queued", ""),
        (observed(run=seen_by_airflow("queued")), "Queued", "0 of 1 steps done"),
        (observed(run=seen_by_airflow("running")), "Queued", "0 of 1 steps done"),
        (
            observed(objects.unschedulable(), run=seen_by_airflow("running")),
            "Queued",
            "0/3 nodes are available: 3 Insufficient memory.",
        ),
        (
            observed(objects.waiting("ContainerCreating"), run=seen_by_airflow("running")),
            "PullingImage",
            "step train: PullingImage",
        ),
        (
            observed(objects.waiting("ErrImagePull", "not found"), run=seen_by_airflow("running")),
            "PullingImage",
            "ErrImagePull: not found",
        ),
        (observed(objects.running(), run=seen_by_airflow("running")), "Running", "step train: Running"),
        # The pod has ended; Airflow has the last word on the run.
        (observed(objects.ended(0, RESULT), run=seen_by_airflow("running")), "Running", "1 of 1 steps done"),
        (observed(objects.ended(1), run=seen_by_airflow("running")), "Running", "step train: Failed"),
        (succeeded(), "Succeeded", "all steps succeeded"),
    ],
)
def test_the_state_tells_what_happens_now(seen: Observed, state: str, message: str) -> None:
    status = status_of(seen)
    assert status["state"] == state
    assert message in status.get("message", "")


def test_a_pod_that_is_seen_before_airflow_was_asked_tells_the_state() -> None:
    assert status_of(observed(objects.running()))["state"] == "Running"


def test_a_run_that_is_tried_again_goes_on_running() -> None:
    seen = observed(objects.ended(1), run=seen_by_airflow("running", "up_for_retry"))
    status = status_of(seen)
    assert (status["state"], status["steps"][0]["state"]) == ("Running", "Retrying")
    assert verdict(objects.run(status)) == "InProgress"


def test_a_successful_run_has_metrics_model_usage_and_times() -> None:
    status = status_of(succeeded())
    assert status["metrics"] == [
        {"name": "loss", "value": "0.05"},
        {"name": "val_accuracy", "value": "0.98125", "best": "0.9853"},
    ]
    assert status["metric"] == "val_accuracy=0.9812"
    assert status["objectiveValue"] == "0.98125"
    assert status["model"] == RESULT["model"]
    assert status["resourceUsage"] == {
        "wallSeconds": "61.5",
        "cpuSeconds": "100",
        "maxRssBytes": "123456",
    }
    assert (status["startedAt"], status["finishedAt"]) == ("2026-11-22T12:00:00Z", "2026-11-22T12:05:00Z")
    assert status["progress"] == {"percent": 100, "summary": "100%", "updatedAt": "2026-11-22T12:00:00Z"}
    assert status["steps"] == [
        {
            "name": "train",
            "state": "Succeeded",
            "attempt": 1,
            "pod": "digits-train-1",
            "startedAt": "2026-11-22T12:00:03Z",
            "finishedAt": "2026-11-22T12:01:04Z",
            "exitCode": 0,
        }
    ]


def test_a_step_in_a_workers_pod_has_ended_when_its_task_has() -> None:
    """The pod outlives it by seconds, and the next step begins meanwhile."""
    run = seen_by_airflow("success", "success")
    assert run.tasks is not None
    task = replace(run.tasks[0], finished_at=NOW + timedelta(seconds=60))
    seen = observed(objects.ended(0, result=RESULT), run=replace(run, tasks=(task,)))
    assert status_of(seen)["steps"][0]["finishedAt"] == "2026-11-22T12:01:00Z"


def test_the_result_comes_from_xcom_when_the_pod_is_gone() -> None:
    status = status_of(observed(run=seen_by_airflow("success", "success"), results={"train": RESULT}))
    assert status["metric"] == "val_accuracy=0.9812"
    assert status["model"] == RESULT["model"]


def test_what_was_known_stays_when_pod_and_airflow_are_gone() -> None:
    body = objects.run(status_of(observed(objects.ended(0, RESULT), run=seen_by_airflow("running"))))
    later = status_of(Observed(), body, now=LATER)
    assert later == body["status"]


def test_inputs_tell_what_the_training_was_given() -> None:
    body = objects.run(parameters={"lr": 1e-3, "shuffle": True, "epochs": 5.0})
    inputs = status_of(observed(), body, parameters={"epochs": 3, "seed": 7})["inputs"]
    assert inputs["parameters"] == {"epochs": "5", "lr": "0.001", "seed": "7", "shuffle": "true"}
    assert inputs["image"] == "images.test/trainer:1"
    assert inputs["data"] == "mnist"


def test_inputs_stay_as_they_were_handed_over() -> None:
    body = objects.run(status_of(observed(), parameters={"epochs": 3}))
    later = status_of(observed(objects.running()), body, parameters={"epochs": 30})
    assert later["inputs"] == body["status"]["inputs"]


def test_the_trainer_knows_the_cause_best() -> None:
    result = {"schema": 1, "state": "Failed", "failure": FAILURE}
    status = status_of(failed(objects.ended(1, result)))
    assert status["failure"] == {
        "step": "train",
        "reason": "ValueError",
        "message": FAILURE["message"],
        "logs": "kubectl -n research logs digits-train-1 -c base",
    }
    assert status["message"] == FAILURE["message"]
    assert is_true(status, "Failed")
    assert verdict(objects.run(status)) == "Failed"


KILLED = {"schema": 1, "failure": {"reason": "OOMKilled", "message": "killed", "exitCode": 137}}


@pytest.mark.parametrize("pod", [objects.ended(137, reason="OOMKilled"), objects.ended(0, KILLED)])
def test_running_out_of_memory_names_the_field_to_change(pod: Body) -> None:
    failure = status_of(failed(pod))["failure"]
    assert failure["reason"] == "OOMKilled"
    assert "training.resources.limits.memory" in failure["message"]


def test_an_evicted_pod_is_told_in_the_kubelets_words() -> None:
    pod = objects.pod(phase="Failed", reason="Evicted", message="The node was low on memory.")
    failure = status_of(failed(pod))["failure"]
    assert (failure["reason"], failure["message"]) == ("Evicted", "The node was low on memory.")


TAKEN = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "EvictionByEvictionAPI",
    "message": "drained",
}
TERMINATED = {"schema": 1, "failure": {"reason": "Terminated", "message": "ended from outside"}}


def evicted(pod: Body) -> Body:
    return {**pod, "status": {**pod["status"], "conditions": [TAKEN]}}


@pytest.mark.parametrize(
    "last", [evicted(objects.ended(143)), evicted(objects.ended(143, TERMINATED)), None], ids=str
)
def test_a_pod_that_had_to_make_way_is_the_cause_also_when_it_is_gone(last: Body | None) -> None:
    under_way = status_of(observed(evicted(objects.running()), run=seen_by_airflow("running")))
    assert (under_way["state"], under_way["message"]) == ("Running", "evicted: drained")
    pods = [last] if last else []
    gone = observed(*pods, run=seen_by_airflow("failed", "failed"), results={"train": TERMINATED})
    failure = status_of(gone, objects.run(under_way))["failure"]
    assert (failure["step"], failure["reason"]) == ("train", "Evicted")
    assert failure["message"] == "evicted: drained"


def test_a_later_attempt_and_a_success_forget_an_eviction() -> None:
    under_way = status_of(observed(evicted(objects.running()), run=seen_by_airflow("running")))
    again = observed(objects.running(attempt=2), run=seen_by_airflow("running"))
    assert "message" not in status_of(again, objects.run(under_way))["steps"][0]
    done = observed(objects.ended(0, RESULT), run=seen_by_airflow("success", "success"))
    assert "message" not in status_of(done, objects.run(under_way))["steps"][0]


def test_a_killed_container_without_words_tells_its_exit_code() -> None:
    failure = status_of(failed(objects.ended(143)))["failure"]
    assert failure["reason"] == "Error"
    assert "143" in failure["message"]


def test_a_failed_task_without_a_pod_sends_the_user_to_airflow() -> None:
    failure = status_of(failed())["failure"]
    assert failure["reason"] == "TaskFailed"
    assert "Airflow" in failure["message"]


def test_a_run_that_was_marked_failed_by_hand_says_that_no_step_failed() -> None:
    failure = status_of(failed(task="success"))["failure"]
    assert failure["reason"] == "AirflowRunFailed"


def test_a_failure_that_only_airflow_kept_is_told() -> None:
    seen = failed(results={"train": {"schema": 1, "state": "Failed", "failure": FAILURE}})
    assert status_of(seen)["failure"]["message"] == FAILURE["message"]


def test_a_failed_run_keeps_the_metrics_that_it_had() -> None:
    result = {"schema": 1, "state": "Failed", "failure": FAILURE, "metrics": {"val_accuracy": "0.5"}}
    assert status_of(failed(objects.ended(1, result)))["metric"] == "val_accuracy=0.5"


@pytest.mark.parametrize("word", ["No such file: /data", "?", "2 errors", "", "x" * 3000])
def test_whatever_word_a_training_gives_as_the_reason_the_status_is_accepted(word: str) -> None:
    result = {"schema": 1, "state": "Failed", "failure": {"reason": word, "message": "see there"}}
    assert status_of(failed(objects.ended(1, result)))["failure"]["message"] == "see there"


def test_whatever_a_training_leaves_as_a_result_the_status_is_accepted() -> None:
    odd = {
        "schema": 1,
        "metrics": {"loss": 0.25, "nan": float("nan"), "": "1", "gone": None},
        "bestMetrics": {"loss": 0.125},
        "model": {"uri": "pvc://claim/model", "signature": {"inputs": []}, "digest": None},
        "resourceUsage": {"wallSeconds": None, "cpuSeconds": 1.5},
    }
    status = status_of(observed(objects.ended(0, odd), run=seen_by_airflow("success", "success")))
    assert {"name": "loss", "value": "0.25", "best": "0.125"} in status["metrics"]
    assert status["model"] == {"uri": "pvc://claim/model"}


@pytest.mark.parametrize(
    "result", [{"metrics": []}, {"model": "here"}, {"failure": "x"}, {"resourceUsage": 1}]
)
def test_a_result_of_another_shape_is_ignored_not_fatal(result: Body) -> None:
    seen = failed(objects.ended(1, {"schema": 1, **result}))
    assert status_of(seen)["state"] == "Failed"


def test_a_failed_try_of_a_step_is_not_the_failure_of_a_later_one() -> None:
    first = objects.ended(1, {"schema": 1, "state": "Failed", "failure": FAILURE})
    second = objects.ended(0, RESULT, attempt=2)
    status = status_of(observed(first, second, run=seen_by_airflow("success", "success", attempt=2)))
    assert (status["state"], status["attempt"]) == ("Succeeded", 2)
    assert "failure" not in status
    assert status["steps"][0]["pod"] == "digits-train-2"


def test_progress_never_goes_back_within_an_attempt() -> None:
    done = status_of(observed(objects.ended(0, RESULT), run=seen_by_airflow("running")))
    assert done["progress"]["percent"] == 100
    behind = status_of(observed(objects.running()), objects.run(done), now=LATER)
    assert behind["progress"] == done["progress"]


def test_a_step_that_airflow_skipped_as_its_run_was_stopped_is_no_progress() -> None:
    seen = observed(objects.unschedulable(), run=seen_by_airflow("failed", "skipped"), stop=LATE)
    assert status_of(seen)["progress"]["percent"] == 0


def test_progress_begins_anew_with_another_attempt() -> None:
    done = status_of(observed(objects.ended(0, RESULT), run=seen_by_airflow("running")))
    again = status_of(observed(objects.running(attempt=2)), objects.run(done), now=LATER)
    assert again["progress"] == {"percent": 0, "summary": "0%", "updatedAt": "2026-11-22T12:05:00Z"}


def test_a_superseded_run_failed_nobody() -> None:
    status = ended_status(objects.run(), "Superseded", "Superseded", "the workload changed", now=NOW)
    assert_accepted("MLPipelineRun", status)
    assert not is_true(status, "Succeeded")
    assert not is_true(status, "Failed")
    assert verdict(objects.run(status)) == "Current"
    assert is_finished(objects.run(status))


def test_a_run_that_cannot_be_run_as_written_is_failed_and_says_why() -> None:
    message = "there is no MLPipeline 'letters' in namespace research"
    status = ended_status(objects.run(), "Failed", "PipelineNotFound", message, now=NOW)
    assert_accepted("MLPipelineRun", status)
    assert status["failure"] == {"reason": "PipelineNotFound", "message": message}
    assert verdict(objects.run(status)) == "Failed"
    assert is_finished(objects.run(status))


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        (Observed(waiting=("WaitingForAirflow", "")), "InProgress"),
        (Observed(waiting=("WaitingForDag", "")), "InProgress"),
        (observed(), "InProgress"),
        (observed(objects.unschedulable(), run=seen_by_airflow("running")), "InProgress"),
        (observed(objects.running(), run=seen_by_airflow("running")), "InProgress"),
        (succeeded(), "Current"),
        (failed(objects.ended(1)), "Failed"),
    ],
)
def test_kstatus_reads_a_run_rightly(seen: Observed, word: str) -> None:
    status = status_of(seen)
    assert verdict(objects.run(status)) == word
    assert status["observedGeneration"] == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0.98125", "val_accuracy=0.9812"),
        ("1", "val_accuracy=1"),
        ("0.000012345", "val_accuracy=1.234e-05"),
        ("123456.7", "val_accuracy=1.235e+05"),
        ("nan", "val_accuracy=nan"),
        ("-0.5", "val_accuracy=-0.5"),
    ],
)
def test_a_metric_is_shown_with_four_digits(value: str, text: str) -> None:
    objective = Objective("val_accuracy", "Maximize")
    assert metric_text(objective, [{"name": "val_accuracy", "value": value}]) == text


def test_no_metric_is_shown_without_objective_or_report() -> None:
    objective = Objective("val_accuracy", "Maximize")
    assert metric_text(None, [{"name": "val_accuracy", "value": "1"}]) is None
    assert metric_text(objective, [{"name": "loss", "value": "1"}]) is None
    assert metric_text(objective, None) is None


def test_a_metric_that_is_no_number_is_shown_as_it_is() -> None:
    objective = Objective("val_accuracy", "Maximize")
    assert metric_text(objective, [{"name": "val_accuracy", "value": "high"}]) == "val_accuracy=high"


pods = st.sampled_from(
    [
        None,
        objects.pod(),
        objects.unschedulable(),
        objects.waiting("ContainerCreating"),
        objects.waiting("ImagePullBackOff", "no such image"),
        objects.running(),
        objects.ended(0, RESULT),
        objects.ended(0, "not JSON"),
        objects.ended(1, {"schema": 1, "failure": FAILURE}),
        objects.ended(137, reason="OOMKilled"),
        objects.pod(phase="Failed", reason="Evicted"),
        objects.pod(phase="Unknown"),
    ]
)
tasks = st.sampled_from(
    [
        None,
        "success",
        "failed",
        "upstream_failed",
        "skipped",
        "removed",
        "running",
        "up_for_retry",
        "queued",
        "scheduled",
        "deferred",
        "a state of a later Airflow",
    ]
)
runs = st.none() | st.builds(
    seen_by_airflow, st.sampled_from(["queued", "running", "success", "failed", "odd"]), tasks
)
observations = st.builds(
    lambda pod, run, result: observed(*([pod] if pod else []), run=run, results={"train": result}),
    pods,
    runs,
    st.sampled_from([{}, RESULT]),
)


@given(st.lists(observations, min_size=1, max_size=5))
def test_whatever_is_seen_in_whatever_order_the_status_is_accepted_and_settles(
    sequence: list[Observed],
) -> None:
    body = objects.run()
    for seen in sequence:
        status = status_of(seen, body)
        body = objects.run(status)
        assert status_of(seen, body, now=LATER) == status, "seen once more, it would be written once more"
        assert verdict(body) == {"Succeeded": "Current", "Failed": "Failed"}.get(
            status["state"], "InProgress"
        )


def test_a_step_whose_pod_has_not_ended_yet_has_airflows_end_and_the_trainings_exit_code() -> None:
    failure = {"reason": "DataError", "message": "no such file (train.py:3)", "exitCode": 3}
    pods = newest_pods([objects.running()], DAG_ID, RUN_ID)
    seen = Observed(
        run=seen_by_airflow("failed", "failed"),
        pods=pods,
        results={"train": {"schema": 1, "failure": failure}},
    )

    [step] = status_of(seen)["steps"]

    assert (step["state"], step["exitCode"]) == ("Failed", 3)
    assert step["finishedAt"] == "2026-11-22T12:05:00Z"


SUSPEND = Stop("Suspended", "Suspended", "suspended by spec.suspend")
CANCEL = Stop("Cancelled", "Cancelled", "cancelled by spec.cancel")
LATE = Stop("Failed", "PendingDeadlineExceeded", "step train had not begun after 1:00:00", "train")


def test_a_run_that_is_being_stopped_says_why_and_remembers_it() -> None:
    status = status_of(observed(objects.running(), run=seen_by_airflow("running"), stop=CANCEL))
    assert "being stopped: cancelled" in status["message"]
    assert status["stopping"]["state"] == "Cancelled"
    assert not is_finished({"status": status})


@pytest.mark.parametrize(("stop", "failed"), [(CANCEL, "True"), (LATE, "True"), (SUSPEND, "False")])
def test_a_run_that_was_stopped_is_what_it_was_stopped_for(stop: Stop, failed: str) -> None:
    status = status_of(observed(objects.ended(143), run=seen_by_airflow("failed", "failed"), stop=stop))
    assert status["state"] == stop.state
    assert {each["type"]: each["status"] for each in status["conditions"]}["Failed"] == failed
    assert status.get("failure", {}).get("reason") == (stop.reason if stop is LATE else None)
    assert status.get("failure", {}).get("step") == stop.step


def test_a_run_that_succeeded_before_it_could_be_stopped_succeeded() -> None:
    seen = observed(objects.ended(0, RESULT), run=seen_by_airflow("success", "success"), stop=CANCEL)
    assert status_of(seen)["state"] == "Succeeded"


def test_a_suspended_run_is_no_longer_on_its_way_and_not_failed() -> None:
    stopped = observed(objects.ended(143), run=seen_by_airflow("failed", "failed"), stop=SUSPEND)
    status = status_of(stopped)
    assert verdict(objects.run(status)) == "Current"
    assert is_suspended(objects.run(status))
    assert "finishedAt" not in status


def test_a_resumed_run_waits_for_its_next_attempt_and_then_runs() -> None:
    stopped = status_of(observed(objects.ended(143), run=seen_by_airflow("failed", "failed"), stop=SUSPEND))
    resumed = resumed_status(objects.run(stopped), now=NOW)
    assert_accepted("MLPipelineRun", resumed)
    assert (resumed["state"], resumed["resumedFrom"]) == ("Queued", 1)
    assert "stopping" not in resumed

    waiting = status_of(observed(objects.ended(143), run=seen_by_airflow("queued")), objects.run(resumed))
    assert waiting["steps"][0]["state"] == "Retrying"
    again = observed(objects.ended(143), objects.running(attempt=2), run=seen_by_airflow("running"))
    status = status_of(again, objects.run(waiting))
    assert (status["state"], status["attempt"], status["resumedFrom"]) == ("Running", 2, 1)


def test_a_step_with_retries_left_is_retrying_and_then_failed() -> None:
    policy = {"retries": 1}
    first = observed(objects.ended(1), run=seen_by_airflow("running"))
    assert status_of(first, runPolicy=policy)["steps"][0]["state"] == "Retrying"
    second = observed(objects.ended(1, attempt=2), run=seen_by_airflow("running"))
    assert status_of(second, runPolicy=policy)["steps"][0]["state"] == "Failed"


def test_a_run_that_airflow_ended_at_its_deadline_says_so() -> None:
    seen = observed(objects.ended(143), run=seen_by_airflow("failed", "skipped"))
    failure = status_of(seen, runPolicy={"deadline": "5m"})["failure"]
    assert failure["reason"] == "DeadlineExceeded"
    assert "0:05:00" in failure["message"]
    other = status_of(seen, runPolicy={"deadline": "1h"})["failure"]
    assert other["reason"] != "DeadlineExceeded"


def test_the_true_cause_of_a_failure_is_waited_for_as_long_as_a_pod_takes_to_end() -> None:
    known = failed(objects.ended(1, {"schema": 1, "failure": FAILURE}))
    assert untold_seconds(known, LATER) == 0
    stale = failed(objects.unschedulable())
    assert untold_seconds(stale, LATER) == 15
    assert untold_seconds(stale, LATER + timedelta(seconds=20)) == 0
    assert (
        untold_seconds(failed(objects.running(), results={"train": {"schema": 1, "failure": FAILURE}}), LATER)
        == 0
    )
    assert untold_seconds(failed(), LATER) == 0


def test_the_commit_and_the_epochs_taken_over_are_told_as_the_training_tells_them() -> None:
    result = {**RESULT, "commit": "a" * 40, "resumedFromEpoch": 2}
    status = status_of(
        observed(objects.ended(0, result, attempt=2), run=seen_by_airflow("success", "success"))
    )
    assert status["inputs"]["commit"] == "a" * 40
    assert status["resumedFromEpoch"] == 2


@pytest.mark.parametrize(("commit", "epoch"), [("main; rm -rf", -1), (7, "two"), (None, True), (None, 0)])
def test_what_cannot_be_a_commit_or_an_epoch_is_left_out(commit: Any, epoch: Any) -> None:
    result = {**RESULT, "commit": commit, "resumedFromEpoch": epoch}
    status = status_of(observed(objects.ended(0, result), run=seen_by_airflow("success", "success")))
    assert "commit" not in status["inputs"]
    assert "resumedFromEpoch" not in status
