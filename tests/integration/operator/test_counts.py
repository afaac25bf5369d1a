"""What the operator asks of the API server, counted in the API server's own audit log."""

import time
from collections import Counter

import pytest

from mlpipeline_operator import names
from mlpipeline_operator.kinds import KINDS, OWN, OWNED
from tests.integration.operator.support.site import Site, wait_for

# Long enough for the slowest of what the operator does by itself: a poll each second, a lease each five.
_QUIET_SECONDS = 15


def bring_up(site: Site, pipeline: str = "digits") -> None:
    """Apply a pipeline and see its first run through."""
    site.api.apply(site.pipeline(pipeline))
    site.succeed(site.triggered(pipeline=pipeline))
    site.wait_state("MLPipeline", pipeline, "Succeeded")
    site.settle()


def test_a_pipeline_is_in_place_after_one_write_per_child_and_its_status(running: Site) -> None:
    trigger = f"{names.dag_id(running.namespace, 'digits')}/dagRuns"
    running.airflow.do(lambda fake: fake.fail(503, trigger, times=1e9))
    running.api.apply(running.pipeline())
    running.wait_ready("MLPipeline", "digits")
    running.settle()
    writes = running.writes()
    assert writes.pop("patch configmaps") == 3, "the DAG; the bundle's version and pointer, per Airflow"
    assert writes.pop("create mlpipelineruns") == 1
    # Waiting for Airflow to parse it; then Ready.
    assert writes.pop("patch mlpipelines/status") == 2
    assert writes.pop("patch mlpipelineruns/status") == 1
    assert writes == {}
    assert running.reads() == {}
    assert running.event_writes() == 2, "Ready and RunStarted"


def test_a_run_costs_one_status_write_per_transition(running: Site) -> None:
    running.api.apply(running.pipeline())
    run = running.triggered()
    running.wait_state("MLPipelineRun", "digits-1", "Queued")
    running.settle()
    running.restart_audit()

    pod = running.step_pod(run)
    scheduled = {"type": "PodScheduled", "status": "True"}
    creating = {"name": "base", "state": {"waiting": {"reason": "ContainerCreating"}}}
    running.pod_status(pod, phase="Pending", conditions=[scheduled], containerStatuses=[creating])
    running.wait_state("MLPipeline", "digits", "PullingImage")
    started = {"name": "base", "state": {"running": {"startedAt": "2026-11-22T12:00:03Z"}}}
    running.pod_status(pod, phase="Running", conditions=[scheduled], containerStatuses=[started])
    running.wait_state("MLPipeline", "digits", "Running")
    running.succeed(run)
    running.wait_state("MLPipeline", "digits", "Succeeded")
    running.settle()
    # PullingImage, Running, Succeeded; a little more where a start time is learnt between two of them.
    writes = running.writes()
    assert 3 <= writes.pop("patch mlpipelineruns/status") <= 5
    assert 3 <= writes.pop("patch mlpipelines/status") <= 5
    assert writes.pop("patch mlpipelines") == 1, "that this workload was run, for a backup to tell"
    assert writes == {}
    assert running.reads() == {}
    assert running.event_writes() == 2, "Running and Succeeded; what was pulled at once is not told"


def test_many_pipelines_of_one_airflow_share_few_versions_of_its_bundle(running: Site) -> None:
    many = [f"digits-{letter}" for letter in "abcdefghij"]
    for name in many:
        running.api.apply(running.pipeline(name, runPolicy={"onChange": False}))
    for name in many:
        running.wait_ready("MLPipeline", name)
    running.settle()
    writes = running.writes()
    dags_and_bundles = writes["patch configmaps"]
    assert dags_and_bundles < 2 * len(many) + 2
    assert writes["patch mlpipelines/status"] == 2 * len(many)
    assert running.event_writes() == len(many), "Ready"


def test_nothing_is_asked_while_nothing_changes(running: Site) -> None:
    bring_up(running)
    running.restart_audit()
    time.sleep(_QUIET_SECONDS)
    asked = [call for audit in running.audits for call in audit.calls()]
    assert {call.resource for call in asked if call.verb != "watch"} <= {"leases"}
    assert running.calls() == []


def test_nothing_is_written_for_a_change_that_does_not_concern_the_operator(running: Site) -> None:
    bring_up(running)
    running.restart_audit()
    touched = {"metadata": {"annotations": {"somebody.example/touched": "1"}}}
    for kind, name in (("MLPipeline", "digits"), ("MLPipelineRun", "digits-1"), ("Airflow", "default")):
        running.api.merge(kind, running.namespace, name, touched)
    for kind in ("Service", "Deployment"):
        # A Deployment's generation grows with each annotation: that alone takes nothing away.
        running.api.merge(kind, running.namespace, names.airflow_component("default", "api-server"), touched)
    time.sleep(3)
    assert running.calls() == []


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_nothing_is_written_after_a_restart(site: Site, how: str) -> None:
    first = site.start()
    bring_up(site)
    site.restart_audit()
    if how == "stopped":
        assert first.stop() == 0
    else:
        first.kill()
    second = site.start()
    wait_for(lambda: "leading as" in second.text(), "the second leads")
    # It looks at everything once, and asks Airflow what it missed.
    wait_for(lambda: site.reads()["get secrets"], "the second connects to Airflow")
    time.sleep(3)
    assert site.writes() == {}
    assert site.event_writes() == 0
    assert site.reads() == {"get secrets": 1}


def test_a_run_goes_on_after_a_restart(site: Site) -> None:
    first = site.start()
    site.api.apply(site.pipeline())
    run = site.triggered()
    site.wait_state("MLPipelineRun", "digits-1", "Queued")
    assert first.stop() == 0
    site.succeed(run)
    site.start()
    status = site.wait_state("MLPipeline", "digits", "Succeeded")
    assert status["metric"] == "val_accuracy=0.9812"
    assert len(site.airflow.runs(names.dag_id(site.namespace, "digits"))) == 1


def test_nothing_of_kopfs_is_on_any_object_and_only_runs_and_airflows_have_a_finalizer(running: Site) -> None:
    bring_up(running)
    finalizers: Counter[str] = Counter()
    for kind in (*OWN, *OWNED, "Secret"):
        for body in running.api.list(kind, running.namespace):
            text = f"{body['metadata'].get('annotations')} {body['metadata'].get('labels')}"
            assert "kopf" not in text, f"{kind} {body['metadata']['name']}"
            ours = [each for each in body["metadata"].get("finalizers") or () if each.startswith(names.GROUP)]
            finalizers.update({kind: len(ours)} if ours else {})
    assert finalizers == {"MLPipelineRun": 1, "Airflow": 1}
    events = running.api.list("Event", running.namespace)
    assert not [event for event in events if "kopf" in str(event)]
    assert KINDS.keys() >= {*OWN, *OWNED}
