"""Which runs are started, once each, and how they end."""

from mlpipeline_operator import names
from tests.integration.operator.support.api import Body
from tests.integration.operator.support.site import Site, wait_for
from tests.support.fake_airflow import FakeAirflow, FakeRun

SCHEDULED = {"type": "PodScheduled", "status": "True"}


def finish(site: Site, number: int) -> None:
    site.succeed(site.triggered(number))
    site.wait_state("MLPipelineRun", f"digits-{number}", "Succeeded")


def terminated(**state: object) -> Body:
    times = {"startedAt": "2026-11-22T12:00:03Z", "finishedAt": "2026-11-22T12:01:04Z"}
    return {"name": "base", "state": {"terminated": {**times, **state}}}


def test_a_changed_workload_starts_a_run_and_nothing_else_does(running: Site) -> None:
    running.api.apply(running.pipeline())
    finish(running, 1)
    for unchanged in (
        running.pipeline(),
        running.pipeline(objective={"metric": "loss", "goal": "Minimize"}),
        running.pipeline(runPolicy={"retries": 2}),
    ):
        running.api.apply(unchanged)
        running.wait_ready("MLPipeline", "digits")
    running.settle()
    assert running.names("MLPipelineRun") == {"digits-1"}
    running.api.apply(running.pipeline(parameters={"epochs": 5}))
    finish(running, 2)
    assert running.names("MLPipelineRun") == {"digits-1", "digits-2"}


def test_going_back_to_an_earlier_workload_is_a_third_run(running: Site) -> None:
    for number, epochs in enumerate((3, 4, 3), start=1):
        running.api.apply(running.pipeline(parameters={"epochs": epochs}))
        finish(running, number)
    running.settle()
    runs = running.airflow.runs(names.dag_id(running.namespace, "digits"))
    assert [run.run_id.rpartition(".")[0] for run in runs] == ["digits-1", "digits-2", "digits-3"]


def test_what_a_backup_restores_is_not_run_again_and_what_is_applied_anew_is(running: Site) -> None:
    running.api.apply(running.pipeline())
    running.succeed(running.triggered())
    running.wait_state("MLPipeline", "digits", "Succeeded")
    running.settle()
    saved = [running.get("MLPipelineRun", "digits-1"), running.get("MLPipeline", "digits")]
    for kind in ("MLPipeline", "MLPipelineRun"):
        running.api.delete(kind, running.namespace, "digits" if kind == "MLPipeline" else "digits-1")
    wait_for(lambda: not running.names("MLPipeline") | running.names("MLPipelineRun"), "both are gone")
    running.settle()
    before = len(running.airflow.runs(names.dag_id(running.namespace, "digits")))

    # As `kubectl get -o yaml` has them, less what the API server refuses; the status is lost.
    for body in saved:
        metadata = {key: value for key, value in body["metadata"].items() if key != "resourceVersion"}
        running.api.create({**body, "metadata": metadata})
    running.wait_ready("MLPipeline", "digits")
    running.settle()
    assert len(running.airflow.runs(names.dag_id(running.namespace, "digits"))) == before
    # Kubernetes deletes the run: its owner is no more.
    wait_for(lambda: not running.names("MLPipelineRun"), "the run of before is gone")
    running.settle()
    status = running.status("MLPipeline", "digits")
    assert (status["state"], status["message"]) == (
        "Idle",
        "no run: this workload was run before, and its run deleted",
    )

    running.api.delete("MLPipeline", running.namespace, "digits")
    wait_for(lambda: not running.names("MLPipeline"), "it is gone")
    running.api.apply(running.pipeline())
    running.wait_state("MLPipelineRun", "digits-1", "Queued")


def test_a_deleted_run_is_not_started_again(running: Site) -> None:
    running.api.apply(running.pipeline())
    finish(running, 1)
    running.api.delete("MLPipelineRun", running.namespace, "digits-1")
    wait_for(lambda: not running.names("MLPipelineRun"), "the run is gone")
    running.settle()
    assert running.names("MLPipelineRun") == set()
    assert running.airflow.runs(names.dag_id(running.namespace, "digits")) == []


def test_a_lost_answer_to_the_trigger_starts_no_second_run(running: Site) -> None:
    running.airflow.do(lambda fake: fake.lose_answer("POST", "/dagRuns", times=2))
    running.api.apply(running.pipeline())
    finish(running, 1)
    running.settle()
    assert len(running.airflow.runs(names.dag_id(running.namespace, "digits"))) == 1
    assert running.airflow.do(lambda fake: fake.requests["POST dags/{}/dagRuns"]) == 3


def triggered_without_an_answer(site: Site) -> FakeRun:
    """Airflow has the pipeline's first run, whose trigger it did not answer, and answers nothing about it."""
    dag_runs = f"{names.dag_id(site.namespace, 'digits')}/dagRuns"

    def lose_the_answer_and_then_fail(fake: FakeAirflow) -> None:
        fake.lose_answer("POST", dag_runs)
        fake.fail(503, dag_runs, times=1e9)

    site.airflow.do(lose_the_answer_and_then_fail)
    site.api.apply(site.pipeline())
    return site.triggered()


def test_a_run_whose_answer_was_lost_is_followed_though_the_workload_has_changed(running: Site) -> None:
    lost = triggered_without_an_answer(running)
    running.api.apply(running.pipeline(parameters={"epochs": 9}))
    wait_for(lambda: "digits-2" in running.names("MLPipelineRun"), "there is a run for the new workload")
    assert running.status("MLPipelineRun", "digits-1").get("state") != "Superseded"
    running.airflow.do(lambda fake: fake.mend())
    running.succeed(lost)
    running.wait_state("MLPipelineRun", "digits-1", "Succeeded")
    finish(running, 2)
    assert len(running.airflow.runs(names.dag_id(running.namespace, "digits"))) == 2


def test_a_workload_that_changes_before_airflow_is_up_is_run_only_as_it_is_then(site: Site) -> None:
    site.world.starts_pods = False
    site.start()
    site.api.apply(site.pipeline())
    site.wait_state("MLPipelineRun", "digits-1", "WaitingForAirflow")
    site.api.apply(site.pipeline(parameters={"epochs": 9}))
    site.wait_state("MLPipelineRun", "digits-1", "Superseded")
    site.world.starts_pods = True
    run = site.triggered()
    assert run.run_id.startswith("digits-2.")
    site.succeed(run)
    site.wait_state("MLPipeline", "digits", "Succeeded")
    assert len(site.airflow.runs(names.dag_id(site.namespace, "digits"))) == 1


def test_a_users_own_run_gets_its_parameters_and_is_shown_by_its_pipeline(running: Site) -> None:
    running.api.apply(running.pipeline(runPolicy={"onChange": False}))
    running.wait_ready("MLPipeline", "digits")
    running.settle()
    running.restart_audit()
    running.api.create(
        {
            "apiVersion": names.API_VERSION,
            "kind": "MLPipelineRun",
            "metadata": {"name": "by-hand", "namespace": running.namespace},
            "spec": {"pipelineRef": {"name": "digits"}, "parameters": {"lr": 0.01, "shuffle": True}},
        }
    )
    run = running.triggered()
    assert run.run_id.startswith("by-hand.")
    assert run.conf["parameters"] == {"epochs": "3", "lr": "0.01", "shuffle": "true"}
    running.succeed(run)
    status = running.wait_state("MLPipeline", "digits", "Succeeded")
    assert status["lastRun"]["name"] == "by-hand"
    assert running.get("MLPipelineRun", "by-hand")["metadata"]["finalizers"] == [names.FINALIZER]
    running.settle()
    assert running.writes()["patch mlpipelineruns"] == 1
    running.api.delete("MLPipeline", running.namespace, "digits")
    wait_for(lambda: not running.names("MLPipelineRun"), "it goes with its pipeline")
    assert running.airflow.runs(names.dag_id(running.namespace, "digits")) == []


def test_a_run_of_a_pipeline_that_is_not_there_fails_at_once(running: Site) -> None:
    running.api.create(
        {
            "apiVersion": names.API_VERSION,
            "kind": "MLPipelineRun",
            "metadata": {"name": "by-hand", "namespace": running.namespace},
            "spec": {"pipelineRef": {"name": "typo"}},
        }
    )
    status = running.wait_state("MLPipelineRun", "by-hand", "Failed")
    assert status["failure"]["reason"] == "PipelineNotFound"
    assert "'typo'" in status["message"]


def test_a_run_that_was_killed_for_memory_says_so(running: Site) -> None:
    running.api.apply(running.pipeline())
    run = running.triggered()
    pod = running.step_pod(run)
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    words = "0/1 nodes are available: 1 Insufficient memory."
    running.pod_status(pod, phase="Pending", conditions=[{**unschedulable, "message": words}])
    wait_for(
        lambda: running.status("MLPipelineRun", "digits-1").get("message") == words,
        "the run tells the scheduler's words",
    )
    assert running.status("MLPipelineRun", "digits-1")["state"] == "Queued"
    killed = terminated(exitCode=137, reason="OOMKilled")
    running.pod_status(pod, phase="Failed", conditions=[SCHEDULED], containerStatuses=[killed])
    running.airflow.do(lambda fake: fake.advance(run.dag_id, run.run_id, "failed", tasks={"train": "failed"}))
    failure = running.wait_state("MLPipelineRun", "digits-1", "Failed")["failure"]
    assert (failure["step"], failure["reason"]) == ("train", "OOMKilled")
    assert failure["logs"] == f"kubectl -n {running.namespace} logs {pod} -c base"
    status = running.wait_state("MLPipeline", "digits", "Failed")
    assert running.is_ready("MLPipeline", "digits"), "how a run fares never moves Ready"
    assert "limits.memory" in status["message"]


def test_deleting_a_run_cancels_and_deletes_it_in_airflow_with_its_pods(running: Site) -> None:
    running.api.apply(running.pipeline())
    run = running.triggered()
    pod = running.step_pod(run)
    running.airflow.do(
        lambda fake: fake.advance(run.dag_id, run.run_id, "running", tasks={"train": "running"})
    )
    running.wait_state("MLPipelineRun", "digits-1", "Queued", "PullingImage", "Running")
    running.api.delete("MLPipelineRun", running.namespace, "digits-1")
    wait_for(lambda: not running.names("MLPipelineRun"), "the run is gone")
    assert running.airflow.runs(run.dag_id) == []
    wait_for(lambda: pod not in running.names("Pod"), "its pod is gone")


def test_deleting_a_pipeline_deletes_what_it_owned(running: Site) -> None:
    running.api.apply(running.pipeline())
    finish(running, 1)
    running.api.delete("MLPipeline", running.namespace, "digits")
    wait_for(
        lambda: (
            not running.names("MLPipelineRun") and not running.names("ConfigMap", f"{names.ROLE_LABEL}=dag")
        ),
        "run and DAG are gone",
    )
    pointer = names.bundle_pointer("default")

    def files() -> str:
        version = running.get("ConfigMap", pointer)["data"]["version"]
        return str((running.api.get("ConfigMap", running.namespace, version) or {}).get("data"))

    wait_for(lambda: "digits" not in files(), "the bundle has no DAG of it")
    running.settle()
    assert running.names("Airflow") == {"default"}, "others may use it"


def test_deleting_the_namespace_does_not_hang_with_airflow_down(running: Site) -> None:
    running.api.apply(running.pipeline())
    running.triggered()
    running.wait_state("MLPipelineRun", "digits-1", "Queued")
    running.airflow.go_down()
    path = f"/api/v1/namespaces/{running.namespace}"
    running.api.call("DELETE", path, {"propagationPolicy": "Background"})
    running.world.starts_pods = running.world.parses = False

    def is_gone() -> bool:
        found = running.api.call("GET", "/api/v1/namespaces")["items"]
        return running.namespace not in {each["metadata"]["name"] for each in found}

    wait_for(is_gone, "the namespace is gone")
    running.airflow.come_back()


def test_deleting_a_run_does_not_hang_when_its_airflow_is_gone(running: Site) -> None:
    running.api.apply(running.pipeline(airflow={"name": "default"}))
    running.triggered()
    running.wait_state("MLPipelineRun", "digits-1", "Queued")
    running.airflow.go_down()
    running.api.delete("MLPipeline", running.namespace, "digits")
    running.api.delete("Airflow", running.namespace, "default")
    wait_for(lambda: not running.names("MLPipelineRun"), "the run is gone")
    running.airflow.come_back()
