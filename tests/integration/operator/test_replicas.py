"""Several replicas: one leads and writes, the others know everything and wait."""

import re
import time

from mlpipeline_operator import names
from tests.integration.operator.support.process import Operator
from tests.integration.operator.support.site import Site, wait_for

# As long as a Lease lasts without being renewed, and some.
_TERM_SECONDS = 20


def writes(operator: Operator) -> float:
    """How often a replica wrote to the API server (besides its Lease), as it says itself."""
    text = operator.get("metrics") or ""
    found = re.findall(r'mlpipeline_operator_api_calls_total\{method="(PATCH|POST|DELETE)"\} ([0-9.]+)', text)
    return sum(float(value) for _, value in found)


def leads(operator: Operator) -> bool:
    return "leading as" in operator.text()


def test_of_two_replicas_one_writes_and_the_other_is_ready_to(site: Site) -> None:
    first = site.start(replica="first")
    wait_for(lambda: leads(first), "the first leads")
    second = site.start(replica="second")
    site.api.apply(site.pipeline())
    run = site.triggered()
    site.settle()
    assert writes(first) > 0
    assert writes(second) == 0
    assert second.get("readyz") == "ok\n"

    site.restart_audit()
    assert first.stop() == 0
    wait_for(lambda: leads(second), "the second leads")
    site.succeed(run)
    site.wait_state("MLPipeline", "digits", "Succeeded")
    assert len(site.airflow.runs(names.dag_id(site.namespace, "digits"))) == 1
    site.settle()
    # Nothing but what became of the run, and on the pipeline that it was run.
    writes_of_run = {"patch mlpipelines/status", "patch mlpipelineruns/status", "patch mlpipelines"}
    assert set(site.writes()) == writes_of_run


def test_a_leader_that_was_paused_longer_than_its_term_writes_nothing_when_it_wakes_up(site: Site) -> None:
    first = site.start(replica="first")
    wait_for(lambda: leads(first), "the first leads")
    site.api.apply(site.pipeline(runPolicy={"onChange": False}))
    site.wait_ready("MLPipeline", "digits")
    site.settle()
    second = site.start(replica="second")
    before = writes(first)
    first.freeze()
    time.sleep(_TERM_SECONDS)
    wait_for(lambda: leads(second), "the second leads")
    # Something to do, which both will see.
    site.api.apply(site.pipeline(parameters={"epochs": 99}, runPolicy={"onChange": False}))
    wait_for(lambda: site.is_ready("MLPipeline", "digits"), "the second did it")
    site.settle()
    site.restart_audit()
    site.world.parses = False
    site.api.apply(site.pipeline(parameters={"epochs": 100}, runPolicy={"onChange": False}))
    site.settle()
    by_second = writes(second)
    site.restart_audit()
    first.thaw()
    status = first.ended(30)
    assert status == 1, "it notices that it lost the Lease, and ends to be started anew"
    site.settle()
    assert writes(second) == by_second
    assert site.writes() == {}
    assert before > 0
