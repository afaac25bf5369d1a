"""Which transitions are told as Events, and which are not."""

from typing import Any

import pytest

from mlpipeline_operator.build.event import event_manifest
from mlpipeline_operator.errors import SpecError
from mlpipeline_operator.status.airflow import airflow_status, invalid_airflow_status
from mlpipeline_operator.status.events import Event, transition_events
from mlpipeline_operator.status.observed import SUPERSEDED, Observed
from mlpipeline_operator.status.pipeline import Placed, Started, invalid_pipeline_status, pipeline_status
from mlpipeline_operator.status.pods import newest_pods
from mlpipeline_operator.status.run import ended_status, run_status
from tests.unit.operator.status import objects
from tests.unit.operator.status.objects import NOW, RUN_ID
from tests.unit.operator.status.test_airflow_status import all_up, scheduler

Body = dict[str, Any]


class Story:
    """A resource whose status goes from one to the next; each gives the Events of its transition."""

    def __init__(self, kind: str, body: Body) -> None:
        self.kind, self.body = kind, body

    def becomes(self, status: Body) -> list[Event]:
        events = transition_events(self.kind, self.body.get("status"), status)
        assert transition_events(self.kind, status, status) == [], "nothing is told twice"
        self.body = {**self.body, "status": status}
        return events


class RunStory(Story):
    def __init__(self) -> None:
        super().__init__("MLPipelineRun", objects.run())

    def waits(self, state: str) -> list[Event]:
        return self.becomes(
            run_status(self.body, objects.pipeline_value(), None, Observed(waiting=(state, "words")), now=NOW)
        )

    def shows(self, state: str, pod: Body | None = None, task: str | None = None) -> list[Event]:
        pods = newest_pods([pod], objects.DAG_ID, RUN_ID) if pod is not None else {}
        seen = Observed(run=objects.seen_by_airflow(state, task), pods=pods)
        return self.becomes(run_status(self.body, objects.pipeline_value(), RUN_ID, seen, now=NOW))


def reasons(events: list[Event]) -> list[tuple[str, str]]:
    return [(event.type, event.reason) for event in events]


def test_a_run_that_goes_well_is_started_running_and_succeeded() -> None:
    story = RunStory()
    assert story.waits("WaitingForAirflow") == []
    assert story.waits("WaitingForDag") == []
    (started,) = story.shows("queued")
    assert (started.type, started.reason, started.note) == (
        "Normal",
        "Started",
        f"in Airflow as {RUN_ID}",
    )
    (pulling,) = story.shows("running", objects.waiting("ContainerCreating"))
    assert (pulling.type, pulling.reason) == ("Normal", "PullingImage")
    assert pulling.while_state == "PullingImage", "told only where it takes long"
    assert reasons(story.shows("running", objects.running())) == [("Normal", "Running")]
    (ended,) = story.shows("success", objects.ended(0, objects.RESULT), "success")
    assert (ended.type, ended.reason) == ("Normal", "Succeeded")
    assert ended.note == (
        "all steps succeeded; val_accuracy=0.9812; model pvc://claim/research/digits/digits-1/model"
    )


def test_an_image_that_cannot_be_pulled_is_one_warning_however_often_the_kubelet_tries() -> None:
    story = RunStory()
    story.shows("queued")
    (warning,) = story.shows("running", objects.waiting("ErrImagePull", "not found: images.test/x:1"))
    assert (warning.type, warning.reason) == ("Warning", "PullingImage")
    assert warning.note == "step train: ErrImagePull: not found: images.test/x:1"
    assert warning.while_state is None
    assert story.shows("running", objects.waiting("ImagePullBackOff", "Back-off pulling image")) == []
    assert story.shows("running", objects.waiting("ErrImagePull", "not found: images.test/x:1")) == []


def test_an_image_that_fails_after_a_while_is_told_although_it_was_pulled_before() -> None:
    story = RunStory()
    story.shows("running", objects.waiting("ContainerCreating"))
    events = story.shows("running", objects.waiting("ErrImagePull", "no space left"))
    assert reasons(events) == [("Warning", "PullingImage")]


def test_a_pod_that_finds_no_room_is_told_with_the_schedulers_words_if_it_lasts() -> None:
    story = RunStory()
    story.shows("queued")
    (event,) = story.shows("running", objects.unschedulable())
    assert (event.type, event.reason, event.while_state) == ("Warning", "Queued", "Queued")
    assert event.note == "step train: 0/3 nodes are available: 3 Insufficient memory."


def test_a_failed_run_is_told_with_its_cause_and_its_log() -> None:
    story = RunStory()
    story.shows("running", objects.running())
    (event,) = story.shows("failed", objects.ended(137, reason="OOMKilled"), "failed")
    assert (event.type, event.reason) == ("Warning", "Failed")
    assert event.note.startswith("step train: OOMKilled: step train needed more memory than its limit")
    assert "(log: kubectl -n research logs digits-train-1 -c base)" in event.note


def test_a_second_attempt_is_told_as_one() -> None:
    story = RunStory()
    story.shows("running", objects.running())
    story.shows("running", objects.waiting("ContainerCreating", attempt=2))
    (event,) = story.shows("running", objects.running(attempt=2))
    assert (event.reason, event.note) == ("Running", "step train: Running, attempt 2")


def test_a_run_that_was_overtaken_is_superseded() -> None:
    story = RunStory()
    story.waits("WaitingForDag")
    events = story.becomes(ended_status(story.body, SUPERSEDED, SUPERSEDED, "it changed", now=NOW))
    assert [(event.reason, event.note) for event in events] == [("Superseded", "it changed")]


def test_a_run_that_is_suspended_resumed_and_cancelled_says_so() -> None:
    states = ["Running", "Suspended", "Queued", "Cancelled"]
    story = Story("MLPipelineRun", objects.run({"dagRunId": RUN_ID, "state": "Running"}))
    told = [story.becomes({"dagRunId": RUN_ID, "state": state, "message": "words"}) for state in states]
    assert [[event.reason for event in events] for events in told] == [
        [],
        ["Suspended"],
        ["Resumed"],
        ["Cancelled"],
    ]


class PipelineStory(Story):
    def __init__(self) -> None:
        super().__init__("MLPipeline", objects.pipeline())

    def shows(self, placed: Placed, run: Body | None = None) -> list[Event]:
        value = objects.pipeline_value()
        return self.becomes(pipeline_status(value, self.body, placed, run, Started(), now=NOW))


WAITING = Placed(True, "", "abc", False)
PLACED = Placed(True, "", "abc", True)
BROKEN = Placed(True, "", "abc", False, "dag.py:3: NameError: x")


def test_a_pipeline_is_told_when_it_is_in_place_and_when_a_run_starts() -> None:
    story = PipelineStory()
    assert story.shows(Placed(False, "it starts", "abc", False)) == []
    assert story.shows(WAITING) == []
    (ready,) = story.shows(PLACED)
    assert (ready.type, ready.reason, ready.note) == (
        "Normal",
        "Ready",
        "Airflow has parsed DAG version abc",
    )
    (started,) = story.shows(PLACED, objects.run())
    assert (started.reason, started.note) == ("RunStarted", "run digits-1: kubectl describe mlpr digits-1")
    for state in ("Queued", "Running", "Succeeded"):
        assert story.shows(PLACED, objects.run({"state": state, "dagRunId": RUN_ID})) == []


def test_the_deletion_of_the_last_run_starts_none() -> None:
    story = PipelineStory()
    second = objects.run({"state": "Running", "dagRunId": "x"})
    second["metadata"] = {**second["metadata"], "name": "digits-2"}
    story.shows(PLACED, second)
    assert story.shows(PLACED, objects.run({"state": "Succeeded"})) == []


def test_a_pipeline_that_only_an_edit_can_mend_is_a_warning_for_each_new_message() -> None:
    story = PipelineStory()
    assert reasons(story.shows(BROKEN)) == [("Warning", "Invalid")]
    (other,) = story.becomes(invalid_pipeline_status(story.body, SpecError("spec.x: wrong"), now=NOW))
    assert (other.type, other.reason, other.note) == ("Warning", "Invalid", "spec.x: wrong")
    assert reasons(story.shows(PLACED)) == [("Normal", "Ready")]


def test_a_pipeline_that_is_suspended_and_resumed_says_so_its_suspended_run_does_not() -> None:
    story = Story("MLPipeline", objects.pipeline())
    suspended_run = {"name": "digits-1", "state": "Suspended"}
    told = [
        story.becomes({"state": state, "observedGeneration": generation, "message": "words", **run})
        for state, generation, run in (
            ("Suspended", 1, {"lastRun": suspended_run}),
            ("Idle", 1, {}),
            ("Suspended", 2, {}),
            ("Queued", 3, {}),
        )
    ]
    assert [[event.reason for event in events if event.reason != "RunStarted"] for events in told] == [
        [],
        [],
        ["Suspended"],
        ["Resumed"],
    ]


class AirflowStory(Story):
    def __init__(self) -> None:
        super().__init__("Airflow", objects.airflow())

    def shows(self, *pods: Body, generation: int = 1, **parts: Body) -> list[Event]:
        self.body["metadata"] = {**self.body["metadata"], "generation": generation}
        value = objects.airflow_value()
        return self.becomes(airflow_status(value, self.body, all_up(**parts), pods, now=NOW))


def test_an_airflow_is_told_when_it_is_up_and_when_a_part_is_away() -> None:
    story = AirflowStory()
    assert story.shows(**scheduler(ready=0)) == []
    assert reasons(story.shows()) == [("Normal", "Ready")]
    (event,) = story.shows(**scheduler(ready=0))
    assert (event.type, event.reason) == ("Warning", "ComponentsNotReady")
    assert event.note == "waiting for scheduler"
    assert reasons(story.shows()) == [("Normal", "Ready")]


def test_parts_that_are_away_for_an_edit_are_no_warning() -> None:
    story = AirflowStory()
    story.shows()
    assert reasons(story.shows(generation=2, **scheduler(ready=0))) == [("Normal", "ComponentsNotReady")]


def test_why_an_airflow_does_not_come_up_is_told_once_and_not_for_each_try() -> None:
    story = AirflowStory()
    story.shows(**scheduler(ready=0))
    crashing = [objects.waiting("CrashLoopBackOff", f"back-off {n}0s restarting") for n in (1, 2)]
    (event,) = story.shows(crashing[0], **scheduler(ready=0))
    assert (event.type, event.reason) == ("Warning", "ComponentsNotReady")
    assert "CrashLoopBackOff in base back-off 10s" in event.note
    assert story.shows(crashing[1], **scheduler(ready=0)) == []
    story.shows(**scheduler(ready=0))
    (again,) = story.shows(crashing[1], **scheduler(ready=0))
    assert again.similar == event.similar, "the recorder leaves it out"


def test_an_airflow_that_only_an_edit_can_mend_is_a_warning() -> None:
    story = AirflowStory()
    error = SpecError("write a full version", reason="VersionNotAvailable")
    (event,) = story.becomes(invalid_airflow_status(story.body, error, now=NOW))
    assert (event.type, event.reason, event.note) == (
        "Warning",
        "VersionNotAvailable",
        "write a full version",
    )


@pytest.mark.parametrize("note", ["short", "é" * 3000])
def test_an_event_names_its_resource_by_uid_and_fits(note: str) -> None:
    body = objects.run()
    body["metadata"]["name"] = "x" * 253
    manifest = event_manifest(body, Event("Started", note), "operator-7f9c_1", NOW)
    assert manifest["regarding"]["uid"] == body["metadata"]["uid"]
    assert len(manifest["metadata"]["name"]) <= 253
    assert len(manifest["note"].encode()) <= 1024
    assert note.startswith(manifest["note"].removesuffix(" …"))
    assert manifest["eventTime"] == "2026-11-22T12:00:00.000000Z"
