"""What ``kubectl describe`` and ``kubectl events`` tell of a pipeline, its runs and its Airflow."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.operator.support.api import Api
from tests.integration.operator.support.site import Site, wait_for
from tests.support.fake_airflow import FakeRun
from tools.demo.kube import Kube


def reasons(site: Site, kind: str, name: str) -> list[tuple[str, str]]:
    return [(each, reason) for each, reason, _ in site.events(kind, name)]


def wait_told(site: Site, kind: str, name: str, *expected: tuple[str, str]) -> None:
    try:
        wait_for(lambda: reasons(site, kind, name) == list(expected), f"the story of {kind} {name}", 30)
    except AssertionError:
        assert site.events(kind, name) == list(expected)


def fail(site: Site, run: FakeRun) -> None:
    site.airflow.do(lambda fake: fake.advance(run.dag_id, run.run_id, "failed", {"train": "failed"}))


def test_describe_shows_the_story_of_a_pipeline_and_its_run(running: Site, api_server: Kube) -> None:
    running.api.apply(running.pipeline())
    run = running.triggered()
    pod = running.step_pod(run)
    running.wait_state("MLPipelineRun", "digits-1", "Queued")
    started = {"name": "base", "state": {"running": {"startedAt": "2026-11-22T12:00:03Z"}}}
    running.pod_status(pod, phase="Running", containerStatuses=[started])
    running.wait_state("MLPipelineRun", "digits-1", "Running")
    running.succeed(run)
    running.wait_state("MLPipeline", "digits", "Succeeded")
    normal = [("Normal", reason) for reason in ("Started", "Running", "Succeeded")]
    wait_told(running, "MLPipelineRun", "digits-1", *normal)
    assert {reason for _, reason in reasons(running, "MLPipeline", "digits")} == {"Ready", "RunStarted"}
    assert reasons(running, "Airflow", "default") == [("Normal", "Ready")]

    described = api_server.run("describe", "mlpr", "digits-1", f"--namespace={running.namespace}")
    story = described.partition("Events:")[2]
    for reason in ("Started", "Running", "Succeeded"):
        assert re.search(rf"Normal\s+{reason}\s+\d+s\s+mlpipelines.dev/operator\s+\S", story), described
    listed = api_server.run("events", "--for=mlpipelinerun/digits-1", f"--namespace={running.namespace}")
    assert re.search(r"Normal\s+Succeeded\s+MLPipelineRun/digits-1\s+all steps succeeded", listed), listed


def test_a_failed_run_is_a_warning_with_its_cause(running: Site) -> None:
    running.api.apply(running.pipeline())
    fail(running, running.triggered())
    running.wait_state("MLPipelineRun", "digits-1", "Failed")
    wait_told(running, "MLPipelineRun", "digits-1", ("Normal", "Started"), ("Warning", "Failed"))
    *_, (_, _, note) = running.events("MLPipelineRun", "digits-1")
    assert note.startswith("step train: TaskFailed: ")


def test_a_pipeline_that_cannot_be_put_in_place_is_one_warning(running: Site) -> None:
    running.api.apply(running.pipeline(airflow={"name": "elsewhere"}))
    running.wait_state("MLPipeline", "digits", "Invalid")
    touched = {"metadata": {"annotations": {"somebody.example/touched": "1"}}}
    running.api.merge("MLPipeline", running.namespace, "digits", touched)
    running.settle()
    wait_told(running, "MLPipeline", "digits", ("Warning", "Invalid"))


@pytest.fixture
def _refused(api: Api, operator_kubeconfig: Path) -> Iterator[None]:
    """The operator may not post Events."""
    path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/mlpipeline-operator"
    rules = api.call("GET", path)["rules"]
    merge = "application/merge-patch+json"
    api.call("PATCH", path, {"rules": [each for each in rules if "events" not in each["resources"]]}, merge)
    yield
    api.call("PATCH", path, {"rules": rules}, merge)


@pytest.mark.usefixtures("_refused")
def test_an_operator_whose_events_are_refused_works_as_well(running: Site) -> None:
    running.api.apply(running.pipeline())
    running.succeed(running.triggered())
    running.wait_state("MLPipeline", "digits", "Succeeded")
    wait_for(lambda: running.event_writes() > 0, "an Event is tried", 30)
    assert running.events("MLPipeline", "digits") == []
