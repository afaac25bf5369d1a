"""Runs as resources: whoever starts, stops, resumes or replaces them, and when they go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mlpipeline_operator import names
from tests.integration.operator.support.api import Body
from tests.integration.operator.support.site import Site, wait_for
from tests.support.fake_airflow import FakeRun

SCHEDULED = "scheduled__2026-11-22T02:00:00+00:00"
BY_HAND = "manual__2026-11-22T02:00:00+00:00"


def runs(site: Site) -> dict[str, Body]:
    """The runs' resources, by name."""
    return {each["metadata"]["name"]: each for each in site.api.list("MLPipelineRun", site.namespace)}


def in_place(site: Site, **spec: object) -> str:
    """A pipeline that starts no run by itself, delivered; returns its dag_id."""
    policy = {"onChange": False, **spec.pop("runPolicy", {})}  # type: ignore[dict-item]
    site.api.apply(site.pipeline(runPolicy=policy, **spec))
    site.wait_ready("MLPipeline", "digits")
    return names.dag_id(site.namespace, "digits")


def started_in_airflow(site: Site, dag_id: str, run_id: str, run_type: str = "scheduled") -> FakeRun:
    """Airflow starts a run by itself, and its executor the pod."""
    run = site.airflow.do(lambda fake: fake.start_run(dag_id, run_id, run_type=run_type))
    site.airflow.do(lambda fake: fake.advance(dag_id, run_id, "running", {"train": "running"}))
    site.step_pod(run)
    return run


def patch_run(site: Site, name: str, **spec: object) -> None:
    site.api.merge("MLPipelineRun", site.namespace, name, {"spec": spec})


def running_step(site: Site, run: FakeRun, attempt: int = 1) -> None:
    """The step's pod is made, and its container runs."""
    tasks = {"train": "running"}
    site.airflow.do(lambda fake: fake.advance(run.dag_id, run.run_id, "running", tasks))
    state = {"running": {"startedAt": "2026-11-22T12:00:03Z"}}
    pod = site.step_pod(run, attempt)
    site.pod_status(pod, phase="Running", containerStatuses=[container(state)])


def under_way(site: Site, manifest: Body | None = None) -> FakeRun:
    """A pipeline is applied, and the step of its first run runs."""
    site.api.apply(manifest or site.pipeline())
    run = site.triggered()
    running_step(site, run)
    site.wait_state("MLPipelineRun", "digits-1", "Running")
    return run


def container(state: Body) -> Body:
    return {
        "name": "base",
        "image": "i",
        "imageID": "",
        "ready": True,
        "restartCount": 0,
        "state": state,
    }


def test_a_run_of_the_schedule_gets_its_resource_within_seconds_and_once(running: Site) -> None:
    dag_id = in_place(running, schedule="0 2 * * *")
    run = started_in_airflow(running, dag_id, SCHEDULED)
    found = wait_for(lambda: runs(running), "the run has a resource", seconds=20)
    assert len(found) == 1
    name, body = found.popitem()
    assert body["metadata"]["annotations"][names.DAG_RUN_ID_ANNOTATION] == SCHEDULED
    running.succeed(run)
    status = running.wait_state("MLPipelineRun", name, "Succeeded")
    assert (status["trigger"], status["dagRunId"]) == ("Schedule", SCHEDULED)
    assert running.wait_state("MLPipeline", "digits", "Succeeded")["lastRun"]["name"] == name
    running.settle()
    assert set(runs(running)) == {name}
    assert len(running.airflow.runs(dag_id)) == 1, "nothing was triggered"


def test_a_run_from_airflows_ui_is_followed_with_the_parameters_that_it_was_given(running: Site) -> None:
    dag_id = in_place(running)
    conf = {"parameters": {"epochs": 7}}
    run = running.airflow.do(lambda fake: fake.start_run(dag_id, BY_HAND, conf))
    running.step_pod(run)
    found = wait_for(lambda: runs(running), "the run has a resource", seconds=20)
    running.succeed(run)
    status = running.wait_state("MLPipelineRun", next(iter(found)), "Succeeded")
    assert (status["trigger"], status["inputs"]["parameters"]) == ("Airflow", {"epochs": "7"})


def test_a_mirrored_run_that_was_deleted_does_not_come_back(running: Site) -> None:
    dag_id = in_place(running, schedule="@daily")
    run = started_in_airflow(running, dag_id, SCHEDULED)
    name = next(iter(wait_for(lambda: runs(running), "the run has a resource", seconds=20)))
    running.succeed(run)
    running.wait_state("MLPipelineRun", name, "Succeeded")
    running.api.delete("MLPipelineRun", running.namespace, name)
    wait_for(lambda: not runs(running), "the run is gone")
    assert running.airflow.runs(dag_id) == [], "in Airflow too"
    running.settle()
    assert not runs(running)


def test_what_airflow_started_while_no_operator_was_there_is_told_afterwards(site: Site) -> None:
    first = site.start()
    dag_id = in_place(site, schedule="@daily")
    site.settle()
    assert first.stop() == 0
    run = site.airflow.do(lambda fake: fake.start_run(dag_id, SCHEDULED, run_type="scheduled"))
    site.succeed(run)
    site.start()
    found = wait_for(lambda: runs(site), "the run has a resource", seconds=60)
    site.wait_state("MLPipelineRun", next(iter(found)), "Succeeded")


def test_another_value_of_the_annotation_starts_a_run_once(running: Site) -> None:
    dag_id = in_place(running)
    for value in ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z"):
        annotations = {names.RUN_REQUEST_ANNOTATION: value}
        running.api.merge(
            "MLPipeline", running.namespace, "digits", {"metadata": {"annotations": annotations}}
        )
        run = running.triggered()
    running.succeed(run)
    running.wait_state("MLPipelineRun", "digits-1", "Succeeded")
    running.settle()
    assert len(running.airflow.runs(dag_id)) == 1
    assert running.status("MLPipelineRun", "digits-1")["trigger"] == "Request"
    annotations = {names.RUN_REQUEST_ANNOTATION: "again"}
    running.api.merge("MLPipeline", running.namespace, "digits", {"metadata": {"annotations": annotations}})
    running.triggered(2)


def test_a_cancelled_run_ends_in_airflow_and_stays_cancelled(running: Site) -> None:
    run = under_way(running)
    patch_run(running, "digits-1", cancel=True)
    status = running.wait_state("MLPipelineRun", "digits-1", "Cancelled")
    assert running.airflow.do(lambda fake: fake.runs[run.dag_id, run.run_id].state) == "failed"
    conditions = {each["type"]: each["status"] for each in status["conditions"]}
    assert conditions == {"Succeeded": "False", "Failed": "True"}
    assert "failure" not in status
    assert running.wait_state("MLPipeline", "digits", "Cancelled")
    running.settle()
    assert len(runs(running)) == 1, "a cancelled run is not made up for"


def test_a_suspended_run_stops_and_goes_on_in_another_attempt(running: Site) -> None:
    run = under_way(running)
    patch_run(running, "digits-1", suspend=True)
    status = running.wait_state("MLPipelineRun", "digits-1", "Suspended")
    assert "failure" not in status
    assert running.airflow.do(lambda fake: fake.runs[run.dag_id, run.run_id].state) == "failed"
    ended = {"exitCode": 143, "reason": "Error", "startedAt": None, "finishedAt": None}
    running.pod_status(
        f"digits-train-{run.number}-1", phase="Failed", containerStatuses=[container({"terminated": ended})]
    )
    running.settle()
    assert running.status("MLPipelineRun", "digits-1")["state"] == "Suspended"

    patch_run(running, "digits-1", suspend=False)
    wait_for(
        lambda: running.airflow.do(lambda fake: fake.runs[run.dag_id, run.run_id].state) == "queued",
        "Airflow does the task again",
    )
    running_step(running, run, attempt=2)
    running.wait_state("MLPipelineRun", "digits-1", "Running")
    running.succeed(run)
    status = running.wait_state("MLPipelineRun", "digits-1", "Succeeded")
    assert (status["attempt"], status["resumedFrom"]) == (2, 1)
    assert len(running.airflow.runs(run.dag_id)) == 1


def test_a_suspended_pipeline_starts_nothing_and_then_what_is_due(running: Site) -> None:
    running.api.apply(running.pipeline(suspend=True))
    running.wait_ready("MLPipeline", "digits")
    running.settle()
    assert running.status("MLPipeline", "digits")["state"] == "Suspended"
    assert not runs(running)
    running.api.create(
        {
            "apiVersion": names.API_VERSION,
            "kind": "MLPipelineRun",
            "metadata": {"name": "by-hand", "namespace": running.namespace},
            "spec": {"pipelineRef": {"name": "digits"}},
        }
    )
    assert "digits is suspended" in running.wait_state("MLPipelineRun", "by-hand", "Suspended")["message"]
    running.api.apply(running.pipeline())
    dag_id = names.dag_id(running.namespace, "digits")
    wait_for(lambda: len(running.airflow.runs(dag_id)) == 2, "both runs start")


def test_a_newer_run_replaces_the_one_before(running: Site) -> None:
    under_way(running, running.pipeline(runPolicy={"concurrency": "Replace"}))
    running.api.apply(running.pipeline(parameters={"epochs": 4}, runPolicy={"concurrency": "Replace"}))
    status = running.wait_state("MLPipelineRun", "digits-1", "Cancelled")
    assert "run digits-2 took its place" in status["message"]
    running.triggered(2)


def test_a_step_that_finds_no_room_in_time_ends_its_run_with_the_schedulers_words(running: Site) -> None:
    running.api.apply(running.pipeline(runPolicy={"pendingDeadline": "10s"}))
    run = running.triggered()
    running.airflow.do(lambda fake: fake.advance(run.dag_id, run.run_id, "running", {"train": "queued"}))
    pod = running.step_pod(run)
    words = "0/3 nodes are available: 3 Insufficient memory."
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
    running.pod_status(pod, phase="Pending", conditions=[unscheduled])
    status = running.wait_state("MLPipelineRun", "digits-1", "Failed")
    assert status["failure"]["reason"] == "PendingDeadlineExceeded"
    assert words in status["failure"]["message"]


def test_a_run_that_airflow_ended_for_its_time_says_so(running: Site) -> None:
    run = under_way(running, running.pipeline(runPolicy={"deadline": "1s"}))

    def time_out(fake: object) -> None:
        seen = fake.advance(run.dag_id, run.run_id, "failed", {"train": "skipped"})  # type: ignore[attr-defined]
        seen.start = datetime.now(UTC) - timedelta(seconds=5)

    running.airflow.do(time_out)
    status = running.wait_state("MLPipelineRun", "digits-1", "Failed")
    assert status["failure"]["reason"] == "DeadlineExceeded"


def test_finished_runs_beyond_the_history_go_in_airflow_too(running: Site) -> None:
    policy = {"history": {"successful": 1, "failed": 0}}
    for epochs in (1, 2, 3):
        running.api.apply(running.pipeline(parameters={"epochs": epochs}, runPolicy=policy))
        name = f"digits-{epochs}"
        run = wait_for(
            lambda name=name: [  # type: ignore[misc]
                each
                for each in running.airflow.runs(names.dag_id(running.namespace, "digits"))
                if each.run_id.startswith(f"{name}.")
            ],
            f"Airflow has {name}",
        )[0]
        running.succeed(run)
        running.wait_state("MLPipelineRun", name, "Succeeded")
    # All are equally good: the first one counts as the best, the last one is the newest.
    wait_for(lambda: set(runs(running)) == {"digits-1", "digits-3"}, "the run in the middle is gone")
    left = {run.run_id.partition(".")[0] for run in running.airflow.runs(run.dag_id)}
    assert left == {"digits-1", "digits-3"}


def test_a_run_goes_when_its_time_is_over_but_for_the_newest(running: Site) -> None:
    policy = {"ttlAfterFinished": "2s"}
    running.api.apply(running.pipeline(runPolicy=policy, objective={"metric": "not_reported"}))
    running.succeed(running.triggered())
    running.wait_state("MLPipelineRun", "digits-1", "Succeeded")
    running.api.apply(
        running.pipeline(runPolicy=policy, objective={"metric": "not_reported"}, parameters={"epochs": 9})
    )
    run = wait_for(
        lambda: [
            each
            for each in running.airflow.runs(names.dag_id(running.namespace, "digits"))
            if each.run_id.startswith("digits-2.")
        ],
        "Airflow has the second run",
    )[0]
    running.succeed(run)
    wait_for(lambda: set(runs(running)) == {"digits-2"}, "the first run is gone")
