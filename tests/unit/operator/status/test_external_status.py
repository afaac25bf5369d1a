"""What the status of an external Airflow says, and of a DAG that does not reach it."""

from typing import Any

import pytest

from mlpipeline_operator.errors import NotReadyError, OperatorError, SpecError, TransientError
from mlpipeline_operator.status.conditions import is_true
from mlpipeline_operator.status.events import transition_events
from mlpipeline_operator.status.external import Seen, external_status, undelivered
from mlpipeline_operator.status.pipeline import Placed, Started, airflow_is_ready, pipeline_status
from mlpipeline_operator.validate import is_external, validate_external_airflow
from tests.unit.operator.status import objects
from tests.unit.operator.status.kstatus import verdict
from tests.unit.operator.status.objects import LATER, NOW
from tests.unit.operator.status.schema import assert_accepted

Body = dict[str, Any]
URL = "https://airflow.example.com/team"
HEALTHY = {"metadatabase": "healthy", "scheduler": "healthy", "dag_processor": "healthy", "triggerer": None}
UP = Seen("3.3.2", True, None, HEALTHY)


def external(**spec: Any) -> Body:
    return objects.airflow(external={"url": f"{URL}/", "credentialsSecretRef": {"name": "login"}, **spec})


def status_of(seen: Seen, body: Body | None = None) -> Body:
    body = body or external()
    status = external_status(validate_external_airflow(body), body, seen, now=NOW)
    assert_accepted("Airflow", status)
    return status


def word(status: Body) -> str:
    return verdict({**external(), "status": status})


def ready(status: Body) -> Body:
    found: Body = next(each for each in status["conditions"] if each["type"] == "Ready")
    return found


def test_an_external_airflow_that_answers_is_ready_and_shows_its_parts() -> None:
    status = status_of(UP)
    assert word(status) == "Current"
    assert (status["state"], status["version"], status["url"]) == ("Running", "3.3.2", URL)
    assert status["components"] == [
        {"name": "metadatabase", "ready": "healthy"},
        {"name": "scheduler", "ready": "healthy"},
        {"name": "dag-processor", "ready": "healthy"},
    ]
    assert status["access"] == {"passwordSecret": "login"}
    assert ready(status)["message"] == f"connected to Airflow 3.3.2 at {URL}"


@pytest.mark.parametrize(
    ("error", "reason", "verdict"),
    [
        (TransientError("away", reason="AirflowUnreachable"), "AirflowUnreachable", "InProgress"),
        (TransientError("slow", reason="AirflowTimeout"), "AirflowUnreachable", "InProgress"),
        (NotReadyError("401", reason="AirflowUnauthorized"), "BadCredentials", "Failed"),
        (NotReadyError("403", reason="AirflowForbidden"), "NotAllowed", "Failed"),
        (NotReadyError("tls", reason="AirflowTLS"), "CertificateNotTrusted", "Failed"),
        (NotReadyError("no Secret", reason="CredentialsNotFound"), "CredentialsNotFound", "Failed"),
        (NotReadyError("a shop", reason="NotAirflow"), "NotAirflow", "Failed"),
        (NotReadyError("3.0.1", reason="AirflowTooOld"), "AirflowTooOld", "Failed"),
    ],
)
def test_why_an_external_airflow_is_not_ready_is_one_word(
    error: OperatorError, reason: str, verdict: str
) -> None:
    status = status_of(Seen(error=error))
    assert word(status) == verdict
    assert (ready(status)["reason"], ready(status)["message"]) == (reason, error.message)
    assert transition_events("Airflow", None, status_of(Seen())) == []
    (event,) = transition_events("Airflow", status_of(Seen()), status)
    assert (event.type, event.reason, event.note) == ("Warning", reason, error.message)


def test_a_part_that_is_unhealthy_keeps_it_from_being_ready() -> None:
    status = status_of(Seen("3.3.2", True, None, {**HEALTHY, "dag_processor": "unhealthy"}))
    assert word(status) == "InProgress"
    assert status["message"] == "waiting for dag-processor"


def test_what_was_true_stays_so_until_it_was_asked_again() -> None:
    body = {**external(), "status": status_of(UP)}
    assert status_of(Seen(), body) == body["status"], "after a restart"
    edited = {**body, "metadata": {**body["metadata"], "generation": 2}}
    status = status_of(Seen(), edited)
    assert word({**status, "observedGeneration": 1}) != "Current"
    assert ready(status)["reason"] == "Connecting"


def test_version_and_parts_stay_shown_while_it_is_away() -> None:
    body = {**external(), "status": status_of(UP)}
    status = status_of(Seen(error=TransientError("away", reason="AirflowUnreachable")), body)
    assert status["version"] == "3.3.2"
    assert len(status["components"]) == 3


def test_a_pipeline_says_that_its_external_airflow_cannot_be_reached() -> None:
    error = TransientError("away", reason="AirflowUnreachable")
    body = {**external(), "status": status_of(Seen(error=error))}
    assert airflow_is_ready(body, "orchestra") == (
        False,
        "Airflow orchestra cannot be reached (kubectl describe airflow orchestra)",
    )
    assert is_external(body)
    assert not is_external(objects.airflow())


def test_a_dag_that_does_not_arrive_says_what_to_install_and_fits_into_a_condition() -> None:
    hint = undelivered("research", "orchestra", "0123456789")
    placed = Placed(True, "", "0123456789", False, undelivered=hint)
    value, body = objects.pipeline_value(), objects.pipeline()
    status = pipeline_status(value, body, placed, None, Started(), now=LATER)
    assert_accepted("MLPipeline", status)
    assert (status["state"], status["message"]) == ("WaitingForDag", hint)
    assert ready(status)["message"] == hint
    assert not is_true(status, "Ready")
    assert '"pointer": "airflow-orchestra-dags"' in hint
    assert len(undelivered("n" * 63, "a" * 30, "0" * 10)) < 1024


@pytest.mark.parametrize(
    "url", ["airflow", "ftp://x", "https://", "https://user@x", "https://x?a=1", "https://x#y"]
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(SpecError, match=r"spec\.external\.url"):
        validate_external_airflow(external(url=url))


def test_settings_of_an_external_airflow_are_refused() -> None:
    body = external()
    body["spec"]["config"] = {"core": {"parallelism": 1}}
    with pytest.raises(SpecError, match=r"spec\.config: the operator does not manage an external Airflow"):
        validate_external_airflow(body)


def test_certificates_and_their_key_have_a_default() -> None:
    value = validate_external_airflow(external(caSecretRef={"name": "ca"}))
    assert (value.ca, value.verify_tls, value.url) == (("ca", "ca.crt"), True, URL)
    assert not validate_external_airflow(external(insecureSkipTLSVerify=True)).verify_tls
