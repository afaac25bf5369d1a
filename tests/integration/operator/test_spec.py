"""What a user writes, and what comes of it when it cannot be followed."""

import time

from mlpipeline_operator import names
from tests.integration.operator.support.api import Body
from tests.integration.operator.support.site import Site, wait_for
from tests.unit.operator.status.kstatus import verdict


def airflow(site: Site, name: str = "default", **spec: object) -> Body:
    return {
        "apiVersion": names.API_VERSION,
        "kind": "Airflow",
        "metadata": {"name": name, "namespace": site.namespace},
        "spec": spec,
    }


def stalled(site: Site, kind: str, name: str) -> Body | None:
    body = site.get(kind, name)
    conditions = (body.get("status") or {}).get("conditions") or ()
    found = (each for each in conditions if each["type"] == "Stalled" and each["status"] == "True")
    return next(found, None)


def test_a_spec_error_becomes_a_condition_and_an_edit_heals_it(running: Site) -> None:
    same_variable = {"learning-rate": 1, "learning_rate": 2}
    running.api.apply(running.pipeline(parameters=same_variable))
    condition = wait_for(lambda: stalled(running, "MLPipeline", "digits"), "it stalls")
    assert "rename one of them" in condition["message"]
    assert verdict(running.get("MLPipeline", "digits")) == "Failed"
    running.settle()
    assert running.writes() == {"patch mlpipelines/status": 1}

    running.api.apply(running.pipeline(parameters={"learning-rate": 1}))
    running.wait_ready("MLPipeline", "digits")
    assert verdict(running.get("MLPipeline", "digits")) == "Current"


def test_a_bad_edit_leaves_the_dag_that_was_there_in_place(running: Site) -> None:
    running.api.apply(running.pipeline(runPolicy={"onChange": False}))
    running.wait_ready("MLPipeline", "digits")
    pointer = running.get("ConfigMap", names.bundle_pointer("default"))["data"]
    running.api.apply(running.pipeline(parameters={"a-b": 1, "a_b": 2}, runPolicy={"onChange": False}))
    wait_for(lambda: stalled(running, "MLPipeline", "digits"), "it stalls")
    running.settle()
    assert running.get("ConfigMap", names.bundle_pointer("default"))["data"] == pointer


def test_an_airflow_that_is_not_there_is_named_and_its_creation_heals(running: Site) -> None:
    running.api.apply(running.pipeline(airflow={"name": "orchestra"}))
    condition = wait_for(lambda: stalled(running, "MLPipeline", "digits"), "it stalls")
    assert condition["reason"] == "AirflowNotFound"
    assert "'orchestra'" in condition["message"]
    running.world.parses = False
    running.api.create(airflow(running, "orchestra"))
    wait_for(lambda: stalled(running, "MLPipeline", "digits") is None, "the stall ends")


def test_the_default_airflow_is_created_once_and_a_users_edit_of_it_stays(site: Site) -> None:
    site.start()
    site.api.apply(site.pipeline())
    site.triggered()
    site.settle()
    assert site.writes()["create airflows"] == 1
    made = site.get("Airflow", "default")
    assert "ownerReferences" not in made["metadata"]
    assert made["spec"] == {}
    site.api.merge("Airflow", site.namespace, "default", {"spec": {"maxActiveRuns": 7}})
    site.api.apply(site.pipeline("letters", runPolicy={"onChange": False}))
    site.wait_ready("MLPipeline", "letters")
    site.settle()
    assert site.get("Airflow", "default")["spec"] == {"maxActiveRuns": 7}
    writes = site.writes()
    assert writes["create airflows"] == 1
    assert "patch airflows" not in writes


def test_a_default_airflow_that_is_there_already_is_used_as_it_is(site: Site) -> None:
    site.api.create(airflow(site, maxActiveRuns=2))
    site.start()
    site.api.apply(site.pipeline())
    site.triggered()
    assert "create airflows" not in site.writes()
    assert site.get("Airflow", "default")["spec"] == {"maxActiveRuns": 2}


def test_no_airflow_is_created_where_that_is_switched_off(site: Site) -> None:
    site.start("--no-auto-create-airflow")
    site.api.apply(site.pipeline())
    condition = wait_for(lambda: stalled(site, "MLPipeline", "digits"), "it stalls")
    assert "--no-auto-create-airflow" in condition["message"]
    assert site.names("Airflow") == set()
    site.api.create(airflow(site))
    site.wait_ready("MLPipeline", "digits")


def test_the_deletion_of_an_airflow_waits_while_a_pipeline_uses_it(running: Site) -> None:
    running.api.apply(running.pipeline(runPolicy={"onChange": False}))
    running.wait_ready("MLPipeline", "digits")
    running.api.delete("Airflow", running.namespace, "default")

    def blocked() -> list[str]:
        conditions = running.status("Airflow", "default").get("conditions", ())
        return [each["message"] for each in conditions if each["type"] == "DeletionBlocked"]

    (message,) = wait_for(blocked, "the deletion waits")
    assert "the pipelines that use this Airflow: digits;" in message
    assert running.is_ready("Airflow", "default")
    # It goes on as if nothing were.
    running.api.apply(running.pipeline(parameters={"epochs": 9}))
    running.succeed(running.triggered())
    running.wait_state("MLPipeline", "digits", "Succeeded")
    told = [reason for _, reason, _ in running.events("Airflow", "default")]
    assert told.count("DeletionBlocked") == 1

    running.api.delete("MLPipeline", running.namespace, "digits")
    wait_for(lambda: running.api.get("Airflow", running.namespace, "default") is None, "the Airflow is gone")
    wait_for(lambda: not running.names("Deployment"), "its parts are gone")


def test_an_airflow_whose_spec_cannot_be_followed_stalls_and_heals(running: Site) -> None:
    running.api.merge("Airflow", running.namespace, "default", {"spec": {"version": "3.9.9"}})
    condition = wait_for(lambda: stalled(running, "Airflow", "default"), "it stalls")
    assert condition["reason"] == "VersionNotAvailable"
    running.api.merge("Airflow", running.namespace, "default", {"spec": {"version": None}})
    running.wait_ready("Airflow", "default")


def test_a_dag_that_airflow_cannot_import_is_told_with_file_and_line(running: Site) -> None:
    running.world.parses = False
    trace = 'Traceback:\n  File "/bundle/digits/dag.py", line 3\n    def\nSyntaxError: invalid syntax'
    running.airflow.do(lambda fake: fake.fail_import("digits/dag.py", trace))
    running.api.apply(running.pipeline())
    condition = wait_for(lambda: stalled(running, "MLPipeline", "digits"), "it stalls")
    assert condition["message"] == "digits/dag.py:3: SyntaxError: invalid syntax"
    time.sleep(1)
    assert running.airflow.runs(names.dag_id(running.namespace, "digits")) == []
    running.world.parses = True
    running.wait_ready("MLPipeline", "digits")
    running.triggered()
