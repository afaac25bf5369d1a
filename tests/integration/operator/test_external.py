"""An Airflow that somebody else runs, on another address: connected to, never changed."""

import base64
import time
from typing import Any

from mlpipeline_operator import names
from tests.integration.operator.support.process import Operator
from tests.integration.operator.support.site import Site, wait_for
from tests.support.fake_airflow import FakeAirflow

NO_MANAGED = ("--airflow-url-template=http://127.0.0.1:1",)
MANAGED_PARTS = ("Deployment", "StatefulSet", "Service", "ServiceAccount", "Role", "PersistentVolumeClaim")


def secret(site: Site, password: str = "opensesame") -> dict[str, Any]:
    login = {"username": "operator", "password": password}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "login", "namespace": site.namespace},
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in login.items()},
    }


def connect(site: Site, password: str = "opensesame", path: str = "") -> Operator:
    """Start an operator that finds no Airflow of its own, and have it connect to the fake one."""

    def take_user(fake: FakeAirflow) -> None:
        fake.username, fake.password = "operator", "opensesame"

    site.airflow.do(take_user)
    operator = site.start(*NO_MANAGED)
    site.api.apply(secret(site, password))
    site.api.apply(
        {
            "apiVersion": names.API_VERSION,
            "kind": "Airflow",
            "metadata": {"name": "shared", "namespace": site.namespace},
            "spec": {
                "external": {"url": site.airflow.url + path, "credentialsSecretRef": {"name": "login"}},
            },
        }
    )
    return operator


def reason(site: Site) -> str:
    conditions = site.status("Airflow", "shared").get("conditions", ())
    return next((each["reason"] for each in conditions if each["type"] == "Ready"), "")


def wait_reason(site: Site, expected: str) -> dict[str, Any]:
    wait_for(lambda: reason(site) == expected, f"{expected}, not {reason(site)}")
    return site.status("Airflow", "shared")


def test_a_pipeline_runs_in_an_external_airflow_that_has_the_bundle(site: Site) -> None:
    connect(site)
    status = wait_reason(site, "Connected")
    assert (status["state"], status["version"], status["url"]) == ("Running", "3.3.2", site.airflow.url)
    assert {"name": "scheduler", "ready": "healthy"} in status["components"]
    told = wait_for(lambda: site.events("Airflow", "shared"), "its Event")
    assert told == [("Normal", "Ready", status["message"])]

    site.api.apply(site.pipeline(airflow={"name": "shared"}))
    site.succeed(site.triggered())
    assert site.wait_state("MLPipeline", "digits", "Succeeded")["metric"] == "val_accuracy=0.9812"
    assert {kind: site.names(kind, names.AIRFLOW_LABEL) for kind in MANAGED_PARTS} == {
        kind: set() for kind in MANAGED_PARTS
    }, "the operator builds nothing"


def test_the_deletion_of_an_external_airflow_touches_nothing_there(site: Site) -> None:
    def others(fake: FakeAirflow) -> None:
        fake.parse("sales.report", "report.py", ["sales"])
        fake.start_run("sales.report", "manual-1")
        fake.parse(f"{site.namespace}.earlier", "earlier/dag.py", [names.DAG_TAG])

    site.airflow.do(others)
    connect(site)
    wait_reason(site, "Connected")
    known = site.airflow.do(lambda fake: (set(fake.dags), set(fake.runs)))
    site.api.delete("Airflow", site.namespace, "shared")
    wait_for(lambda: site.api.get("Airflow", site.namespace, "shared") is None, "it is deleted")
    site.settle()
    assert site.airflow.do(lambda fake: (set(fake.dags), set(fake.runs))) == known
    asked = {request.split()[0] for request in site.airflow.do(lambda fake: dict(fake.requests))}
    assert asked == {"GET", "POST"}
    assert {key for key in site.airflow.do(lambda fake: dict(fake.requests)) if key.startswith("POST")} == {
        "POST auth/token"
    }, "nothing there was changed"
    requests = site.airflow.do(lambda fake: fake.requests.total())
    time.sleep(3)
    assert site.airflow.do(lambda fake: fake.requests.total()) == requests, "it is polled no more"


def test_a_dag_that_does_not_arrive_says_what_to_install(site: Site) -> None:
    site.world.parses = False
    connect(site)
    wait_reason(site, "Connected")
    site.api.apply(site.pipeline(airflow={"name": "shared"}))
    site.wait_state("MLPipeline", "digits", "WaitingForDag")
    assert "mlpipeline_dags" not in site.status("MLPipeline", "digits")["message"], "it may still come"
    wait_for(lambda: "mlpipeline_dags" in site.status("MLPipeline", "digits")["message"], "what to do", 120)
    status = site.status("MLPipeline", "digits")
    assert status["state"] == "WaitingForDag"
    pointer = '"pointer": "airflow-shared-dags"'
    assert pointer in status["message"]
    assert pointer in next(each["message"] for each in status["conditions"] if each["type"] == "Ready")
    site.world.parses = True
    site.wait_ready("MLPipeline", "digits")


def test_a_wrong_password_is_told_and_mended_by_the_right_one(site: Site) -> None:
    connect(site, password="wrong")
    status = wait_reason(site, "BadCredentials")
    assert status["state"] == "Invalid"
    assert "Invalid credentials" in status["message"]
    assert "wrong" not in str(status)
    site.api.apply(secret(site))
    wait_reason(site, "Connected")


def test_an_airflow_that_is_away_is_told_and_found_when_it_is_back(site: Site) -> None:
    connect(site)
    wait_reason(site, "Connected")
    site.airflow.go_down()
    status = wait_reason(site, "AirflowUnreachable")
    assert (status["state"], status["version"]) == ("Pending", "3.3.2")
    site.airflow.come_back()
    wait_reason(site, "Connected")


def test_what_is_no_airflow_or_one_too_old_is_told(site: Site) -> None:
    connect(site, path="/not-here")
    assert "is not the API of an Airflow 3" in wait_reason(site, "NotAirflow")["message"]
    site.airflow.do(lambda fake: setattr(fake, "version", "3.1.0"))
    spec = {"external": {"url": site.airflow.url}}
    site.api.merge("Airflow", site.namespace, "shared", {"spec": spec})
    assert "3.1.0" in wait_reason(site, "AirflowTooOld")["message"]
    site.airflow.do(lambda fake: setattr(fake, "version", "3.3.2"))
    wait_reason(site, "Connected")


def test_nothing_is_written_after_a_restart(site: Site) -> None:
    first = connect(site)
    wait_reason(site, "Connected")
    site.settle()
    assert first.stop() == 0
    site.restart_audit()
    second = site.start(*NO_MANAGED)
    wait_for(lambda: "leading as" in second.text(), "the second leads")
    wait_for(lambda: site.reads()["get secrets"], "the second connects to Airflow")
    time.sleep(3)
    assert site.writes() == {}
    assert site.event_writes() == 0
    assert site.reads() == {"get secrets": 1}
