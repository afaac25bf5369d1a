"""Which workloads had their run, and what the next one is called."""

from typing import Any

import pytest

from mlpipeline_operator import names
from mlpipeline_operator.build.run import (
    due_run,
    finished_marks,
    handled_request,
    is_restored,
    mirrored_run,
    newest_number,
    pending_request,
    started_workload,
    trigger_of,
)
from mlpipeline_operator.validate import validate_pipeline
from mlpipeline_operator.values import Images, PipelineValue

Body = dict[str, Any]
IMAGES = Images("images.test/airflow:1", "images.test/trainer:1", "images.test/postgres:1")


def pipeline(**spec: Any) -> Body:
    return {
        "apiVersion": names.API_VERSION,
        "kind": "MLPipeline",
        "metadata": {"name": "digits", "namespace": "research", "uid": "uid-of-digits", "generation": 1},
        "spec": {"training": {"dataset": "mnist"}, **spec},
    }


def value(**spec: Any) -> PipelineValue:
    return validate_pipeline(pipeline(**spec), IMAGES)


def run(name: str, workload: str | None) -> Body:
    annotations = {names.RUN_HASH_ANNOTATION: workload} if workload else {}
    return {"metadata": {"name": name, "namespace": "research", "annotations": annotations}}


def told(count: int, workload: str) -> Body:
    return {**pipeline(), "status": {"runCount": count, "runHash": workload}}


def test_no_workload_was_started_at_first() -> None:
    assert started_workload(pipeline(), []) is None
    assert newest_number(pipeline(), []) == 0


def test_the_run_tells_before_the_status_was_written() -> None:
    assert started_workload(pipeline(), [run("digits-1", "aaa")]) == ("aaa", 1)


def test_the_status_tells_when_the_run_was_deleted() -> None:
    assert started_workload(told(3, "aaa"), []) == ("aaa", 3)


def test_going_back_to_an_earlier_workload_is_a_new_one() -> None:
    runs = [run("digits-1", "aaa"), run("digits-2", "bbb")]
    started = started_workload(told(2, "bbb"), runs)
    assert started == ("bbb", 2)
    assert started[0] != "aaa", "so that the earlier workload is due once more"
    again = started_workload(told(2, "bbb"), [*runs, run("digits-3", "aaa")])
    assert again == ("aaa", 3)


def test_runs_are_numbered_on_when_the_newest_was_deleted() -> None:
    assert newest_number(told(7, "aaa"), [run("digits-2", "bbb")]) == 7


def test_a_lost_status_is_made_up_for_by_the_runs() -> None:
    runs = [run(f"digits-{number}", f"workload-{number}") for number in (9, 10, 2)]
    assert started_workload(pipeline(), runs) == ("workload-10", 10)


def test_a_users_own_run_is_no_sign_that_a_workload_was_started() -> None:
    assert started_workload(pipeline(), [run("digits-5", None), run("by-hand", None)]) is None


def test_a_run_of_another_name_does_not_count_as_a_number() -> None:
    assert newest_number(pipeline(), [run("restored", "aaa")]) == 0


@pytest.mark.parametrize(
    ("change", "is_due"),
    [
        ({"parameters": {"epochs": 4}}, True),
        ({"training": {"dataset": "mnist", "env": [{"name": "TEAM", "value": "physics"}]}}, True),
        ({"training": {"image": "images.test/mine:1", "entrypoint": "train:main"}}, True),
        ({"training": {"dataset": "mnist", "resources": {"limits": {"memory": "2Gi"}}}}, False),
        ({"objective": {"metric": "val_loss", "goal": "Minimize"}}, False),
        ({"runPolicy": {"retries": 3}}, False),
        ({"airflow": {"name": "orchestra"}}, False),
    ],
)
def test_a_run_is_due_when_the_workload_changes_and_only_then(change: Body, is_due: bool) -> None:
    assert (value(**change).run_hash != value().run_hash) is is_due


def test_another_release_of_the_operator_starts_nothing() -> None:
    later = Images("images.test/airflow:2", "images.test/trainer:2", "images.test/postgres:2")
    assert validate_pipeline(pipeline(), later).run_hash == value().run_hash


def test_the_run_belongs_to_its_pipeline_and_tells_which_workload_it_is_for() -> None:
    made = due_run(value(), 4, "Change")
    metadata = made["metadata"]
    assert metadata["name"] == "digits-4"
    assert metadata["namespace"] == "research"
    assert metadata["labels"][names.PIPELINE_LABEL] == "digits"
    assert metadata["annotations"] == {
        names.RUN_HASH_ANNOTATION: value().run_hash,
        names.TRIGGER_ANNOTATION: "Change",
    }
    assert [owner["uid"] for owner in metadata["ownerReferences"]] == ["uid-of-digits"]
    assert metadata["finalizers"] == [names.FINALIZER]
    assert made["spec"] == {"pipelineRef": {"name": "digits"}}


def asking(value: str, handled: str | None = None) -> Body:
    body = pipeline()
    body["metadata"]["annotations"] = {names.RUN_REQUEST_ANNOTATION: value}
    return {**body, "status": {"runRequest": handled}} if handled else body


def test_another_value_of_the_annotation_asks_for_a_run_once() -> None:
    assert pending_request(pipeline(), []) is None
    assert pending_request(asking("monday"), []) == "monday"
    assert pending_request(asking("monday", handled="monday"), []) is None
    assert pending_request(asking("tuesday", handled="monday"), []) == "tuesday"


def test_a_request_whose_run_is_there_is_not_met_twice_though_the_status_was_lost() -> None:
    made = due_run(value(), 1, "Request", "monday")
    assert trigger_of(made) == "Request"
    assert pending_request(asking("monday"), [made]) is None
    assert handled_request(asking("monday"), [made]) == "monday"


def test_a_request_that_waits_leaves_the_one_before_remembered() -> None:
    assert handled_request(asking("tuesday", handled="monday"), []) == "monday"


def test_a_run_of_airflows_tells_who_started_it_and_is_no_workloads() -> None:
    made = mirrored_run(value(), "digits-abc", "scheduled__2026-11-22", scheduled=True)
    assert trigger_of(made) == "Schedule"
    assert made["metadata"]["annotations"][names.DAG_RUN_ID_ANNOTATION] == "scheduled__2026-11-22"
    assert started_workload(pipeline(), [made]) is None
    assert trigger_of(mirrored_run(value(), "digits-abc", "manual__x", scheduled=False)) == "Airflow"
    assert trigger_of(run("by-hand", None)) == "User"


ENDED = {"Succeeded", "Failed", "Cancelled"}


def ended(made: Body, state: str = "Succeeded") -> Body:
    return {**made, "status": {"state": state}}


def restored(body: Body, marks: Body) -> Body:
    """What a backup brings back: the metadata, without the status."""
    return {**body, "metadata": {**body["metadata"], "annotations": marks}, "status": {}}


def test_a_restored_pipeline_knows_what_it_has_run_and_a_new_workload_is_its_first_run() -> None:
    made = ended(due_run(value(), 4, "Change"))
    marks = finished_marks(pipeline(), [made], ENDED)
    assert marks == {names.FINISHED_WORKLOAD_ANNOTATION: f"research/digits/{value().run_hash}"}
    again = restored(pipeline(), marks)
    assert started_workload(again, []) == (value().run_hash, 0)
    assert newest_number(again, []) == 0
    assert finished_marks(again, [], ENDED) == {}
    assert finished_marks(again, [made], ENDED) == {}, "they are there already"


def test_a_copy_under_another_name_has_run_nothing() -> None:
    marks = finished_marks(pipeline(), [ended(due_run(value(), 1, "Change"))], ENDED)
    copy = restored(pipeline(), marks)
    copy["metadata"]["name"] = "copy"
    assert started_workload(copy, []) is None


@pytest.mark.parametrize("state", ["Running", "Superseded", "Suspended", None])
def test_what_was_not_run_to_its_end_is_to_be_run_again_after_a_restoration(state: str | None) -> None:
    made = {**due_run(value(), 1, "Change"), "status": {"state": state}}
    assert finished_marks(pipeline(), [made], ENDED) == {}


def test_a_request_that_had_its_run_is_not_met_again_after_a_restoration() -> None:
    made = ended(due_run(value(), 1, "Request", "monday"))
    marks = finished_marks(asking("monday"), [made], ENDED)
    again = restored(pipeline(), {**marks, names.RUN_REQUEST_ANNOTATION: "monday"})
    assert pending_request(again, []) is None
    assert pending_request(restored(pipeline(), {**marks, names.RUN_REQUEST_ANNOTATION: "tuesday"}), [])


def test_a_run_of_an_earlier_pipeline_of_the_name_is_a_backups() -> None:
    made = due_run(value(), 1, "Change")
    assert not is_restored(made, pipeline())
    later = pipeline()
    later["metadata"]["uid"] = "another"
    assert is_restored(made, later)
    assert not is_restored(run("by-hand", None), later), "a user's own has no owner yet"
