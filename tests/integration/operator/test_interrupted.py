"""What happens at a bad moment: while no operator is there, while Airflow is away, before an end was seen."""

from __future__ import annotations

from mlpipeline_operator import names
from tests.integration.operator.support.api import Body
from tests.integration.operator.support.site import Site, wait_for
from tests.integration.operator.test_lifecycle import in_place, patch_run, running_step, under_way
from tests.integration.operator.test_runs import triggered_without_an_answer
from tests.support.fake_airflow import FakeAirflow, FakeRun


def by_hand(site: Site, name: str = "by-hand", pipeline: str = "digits") -> Body:
    return {
        "apiVersion": names.API_VERSION,
        "kind": "MLPipelineRun",
        "metadata": {"name": name, "namespace": site.namespace},
        "spec": {"pipelineRef": {"name": pipeline}},
    }


def gone(site: Site, *runs: str) -> None:
    wait_for(lambda: not set(runs) & site.names("MLPipelineRun"), f"{', '.join(runs)} is gone")


def test_a_run_that_is_created_while_no_operator_is_there_is_started_afterwards(site: Site) -> None:
    first = site.start()
    dag_id = in_place(site)
    site.settle()
    assert first.stop() == 0
    site.api.create(by_hand(site))
    site.start()
    site.succeed(wait_for(lambda: site.airflow.runs(dag_id), "Airflow has the run")[0])
    site.wait_state("MLPipelineRun", "by-hand", "Succeeded")


def test_a_run_that_is_deleted_while_no_operator_is_there_does_not_train_on(site: Site) -> None:
    first = site.start()
    run = under_way(site)
    assert first.stop() == 0
    site.api.delete("MLPipelineRun", site.namespace, "digits-1")
    site.start()
    gone(site, "digits-1")
    assert site.airflow.runs(run.dag_id) == []


def test_a_pipeline_that_is_applied_again_while_its_old_run_is_still_going_has_a_run_of_its_own(
    running: Site,
) -> None:
    old = under_way(running)
    # The old run cannot go yet.
    running.airflow.do(lambda fake: fake.fail(503, f"{old.dag_id}/dagRuns/{old.run_id}", times=1e9))
    running.api.delete("MLPipeline", running.namespace, "digits")
    running.api.apply(running.pipeline())

    def another() -> list[FakeRun]:
        return [run for run in running.airflow.runs(old.dag_id) if run.run_id != old.run_id]

    new = wait_for(another, "the new pipeline has a run in Airflow")[0]
    running.airflow.do(lambda fake: fake.mend())
    running.succeed(new)
    running.wait_state("MLPipeline", "digits", "Succeeded")
    gone(running, "digits-1")
    assert another() == running.airflow.runs(old.dag_id)


def test_a_deleted_pipeline_with_a_dag_of_the_users_leaves_no_run_and_no_pod(running: Site) -> None:
    running.world.parses = False
    text = 'from airflow.sdk import DAG\nwith DAG("train_all"):\n    ...\n'
    manifest = running.pipeline("my-etl", dag={"files": {"flow.py": text}})
    del manifest["spec"]["training"], manifest["spec"]["objective"]
    running.api.apply(manifest)
    dag_hash = wait_for(lambda: running.status("MLPipeline", "my-etl").get("dagHash"), "it has a DAG")
    tags = [names.DAG_TAG, names.dag_hash_tag(dag_hash)]
    running.airflow.do(lambda fake: fake.parse("train_all", "my_etl/flow.py", tags))
    running.wait_ready("MLPipeline", "my-etl")
    running.api.create(by_hand(running, "etl-1", "my-etl"))
    run = wait_for(lambda: running.airflow.runs("train_all"), "Airflow has the run")[0]
    other = running.airflow.do(lambda fake: fake.start_run("somebodys", run.run_id))
    for each in (run, other):
        running.api.create(users_pod(running, each))
    running.airflow.do(lambda fake: fake.advance("train_all", run.run_id, "running", {"load": "running"}))
    status = running.wait_state("MLPipelineRun", "etl-1", "Queued", "PullingImage", "Running")
    assert status["dagId"] == "train_all"

    running.api.delete("MLPipeline", running.namespace, "my-etl")
    gone(running, "etl-1")
    assert running.airflow.runs("train_all") == []
    wait_for(lambda: "train_all-pod" not in running.names("Pod"), "its pod is gone")
    assert "somebodys-pod" in running.names("Pod"), "another DAG's run has the same id"


def users_pod(site: Site, run: FakeRun) -> Body:
    """The pod of a task of the user's: it names its Airflow, and no pipeline."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{run.dag_id.replace('_', '-')}-pod",
            "namespace": site.namespace,
            "labels": {names.MANAGED_BY_LABEL: names.MANAGED_BY, names.AIRFLOW_LABEL: "default"},
            "annotations": {
                "dag_id": run.dag_id,
                "run_id": run.run_id,
                "task_id": "load",
                "try_number": "1",
            },
        },
        "spec": {"containers": [{"name": "base", "image": "images.test/trainer:1"}]},
    }


def test_a_suspension_that_is_taken_back_before_the_end_was_seen_goes_on(running: Site) -> None:
    run = under_way(running)

    # Airflow stops the run, and nobody hears of it until the suspension is taken back.
    def no_word_of_it(fake: FakeAirflow) -> None:
        fake.fail(503, "/dags/~/dagRuns", times=1e9)

    running.airflow.do(no_word_of_it)
    patch_run(running, "digits-1", suspend=True)
    wait_for(
        lambda: running.airflow.do(lambda fake: fake.runs[run.dag_id, run.run_id].state) == "failed",
        "Airflow has stopped it",
    )
    patch_run(running, "digits-1", suspend=False)
    running.settle()
    running.airflow.do(lambda fake: fake.mend())
    wait_for(
        lambda: running.airflow.do(lambda fake: fake.runs[run.dag_id, run.run_id].state) == "queued",
        "Airflow does the task again",
    )
    running_step(running, run, attempt=2)
    running.succeed(run)
    assert running.wait_state("MLPipelineRun", "digits-1", "Succeeded")["resumedFrom"] == 1


def test_a_run_that_is_cancelled_while_the_answer_to_its_trigger_is_lost_does_not_train_on(
    running: Site,
) -> None:
    lost = triggered_without_an_answer(running)
    patch_run(running, "digits-1", cancel=True)
    running.airflow.do(lambda fake: fake.mend())
    running.wait_state("MLPipelineRun", "digits-1", "Cancelled")
    wait_for(
        lambda: running.airflow.do(lambda fake: fake.runs[lost.dag_id, lost.run_id].state) == "failed",
        "Airflow has stopped it",
    )


def test_a_run_stays_where_it_was_started_though_its_pipeline_moves_to_another_airflow(
    running: Site,
) -> None:
    run = under_way(running)
    running.api.create(
        {
            "apiVersion": names.API_VERSION,
            "kind": "Airflow",
            "metadata": {"name": "other", "namespace": running.namespace},
            "spec": {"external": {"url": running.airflow.url, "credentialsSecretRef": {"name": "nobody"}}},
        }
    )
    running.api.apply(running.pipeline(airflow={"name": "other"}))
    wait_for(lambda: running.status("MLPipeline", "digits").get("airflow") == "other", "it has moved")
    running.settle()
    assert running.status("MLPipelineRun", "digits-1")["state"] == "Running"
    running.succeed(run)
    assert running.wait_state("MLPipelineRun", "digits-1", "Succeeded")["airflow"] == "default"
