"""Which parts of an Airflow are up, and why one is not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpipeline_operator import names
from mlpipeline_operator.errors import SpecError
from mlpipeline_operator.status.airflow import airflow_status, invalid_airflow_status, with_waiting_deletion
from mlpipeline_operator.status.conditions import is_true
from tests.unit.operator.status import objects
from tests.unit.operator.status.kstatus import verdict
from tests.unit.operator.status.objects import LATER, NOW
from tests.unit.operator.status.schema import assert_accepted

Body = dict[str, Any]


def workload(name: str, ready: int = 1, *, generation: int = 1, **status: Any) -> Body:
    found = {
        "observedGeneration": 1,
        "replicas": ready,
        "readyReplicas": ready,
        "updatedReplicas": ready,
        **status,
    }
    return {"metadata": {"name": name, "generation": generation}, "status": found}


def all_up(**others: Body) -> list[Body]:
    """Every workload, ready; ``others`` by component replace theirs."""
    parts = {
        component: workload(names.airflow_component("orchestra", component)) for component in names.COMPONENTS
    }
    parts["postgresql"] = workload(names.airflow_postgres("orchestra"))
    return list({**parts, **others}.values())


def status_of(workloads: list[Body], *pods: Body, body: Body | None = None, **spec: Any) -> Body:
    body = body or objects.airflow(**spec)
    status = airflow_status(objects.airflow_value(**spec), body, workloads, pods, now=NOW)
    assert_accepted("Airflow", status)
    return status


def word(status: Body) -> str:
    return verdict({**objects.airflow(), "status": status})


def scheduler(**changes: Any) -> dict[str, Body]:
    return {"scheduler": workload(names.airflow_component("orchestra", "scheduler"), **changes)}


def test_an_airflow_with_all_parts_up_is_ready_and_says_how_to_get_in() -> None:
    status = status_of(all_up())
    assert word(status) == "Current"
    assert status["state"] == "Running"
    assert [part["ready"] for part in status["components"]] == ["1/1"] * 5
    assert status["url"] == "http://airflow-orchestra-api-server.research.svc:8080"
    assert status["access"] == {
        "command": "kubectl -n research port-forward service/airflow-orchestra-api-server 8080",
        "username": "admin",
        "passwordSecret": "airflow-orchestra-admin",
    }


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"ready": 0}, "0/1"),
        ({"ready": 1, "updatedReplicas": 0}, "1/1"),
        ({"ready": 1, "generation": 2}, "1/1"),
    ],
    ids=["not ready", "an old pod is ready, the new one is not", "the change was not looked at yet"],
)
def test_a_part_that_is_not_up_keeps_the_airflow_from_being_ready(changes: Body, shown: str) -> None:
    status = status_of(all_up(**scheduler(**changes)))
    assert word(status) == "InProgress"
    assert status["message"] == "waiting for scheduler"
    assert {"name": "scheduler", "ready": shown} in status["components"]


def test_parts_that_are_not_there_yet_are_waited_for() -> None:
    status = status_of([])
    assert status["message"] == ("waiting for postgresql, api-server, scheduler, dag-processor, triggerer")
    assert [part["ready"] for part in status["components"]] == ["0/1"] * 5


def test_all_wanted_replicas_must_be_ready() -> None:
    status = status_of(all_up(**scheduler(ready=1)), scheduler={"replicas": 2})
    assert {"name": "scheduler", "ready": "1/2"} in status["components"]
    assert word(status) == "InProgress"
    assert word(status_of(all_up(**scheduler(ready=2)), scheduler={"replicas": 2})) == "Current"


def test_a_database_of_ones_own_is_no_part() -> None:
    status = status_of(all_up(), database={"secretRef": {"name": "company"}})
    assert [part["name"] for part in status["components"]] == list(names.COMPONENTS)


def test_the_scheduler_of_kubernetes_tells_why_a_part_is_not_up() -> None:
    status = status_of(all_up(**scheduler(ready=0)), objects.unschedulable())
    assert status["message"] == (
        "waiting for scheduler: pod digits-train-1: 0/3 nodes are available: 3 Insufficient memory."
    )


def test_an_image_that_cannot_be_pulled_is_told() -> None:
    status = status_of(all_up(**scheduler(ready=0)), objects.waiting("ImagePullBackOff", "Back-off"))
    assert "ImagePullBackOff in base Back-off" in status["message"]


def test_an_init_container_that_crashes_is_told() -> None:
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    pod = objects.pod(initContainerStatuses=[{"name": "migrate", "state": state}])
    status = status_of(all_up(**scheduler(ready=0)), pod)
    assert "CrashLoopBackOff in migrate" in status["message"]


def test_a_pod_that_is_just_being_created_is_no_trouble() -> None:
    status = status_of(all_up(**scheduler(ready=0)), objects.waiting("ContainerCreating"))
    assert status["message"] == "waiting for scheduler"


def test_trouble_of_a_pod_is_not_told_when_all_parts_are_up() -> None:
    assert status_of(all_up(), objects.unschedulable())["message"] == "all components are up"


def test_a_spec_that_cannot_be_followed_stalls_and_keeps_what_runs() -> None:
    running = {**objects.airflow(generation=2), "status": status_of(all_up())}
    error = SpecError("spec.version: not available", reason="VersionNotAvailable")
    status = invalid_airflow_status(running, error, now=LATER)
    assert_accepted("Airflow", status)
    assert verdict({**running, "status": status}) == "Failed"
    assert (status["state"], status["message"]) == ("Invalid", "spec.version: not available")
    assert status["version"] == "3.3.2"
    assert not is_true(status, "Ready")


def test_a_spec_that_was_never_valid_stalls() -> None:
    status = invalid_airflow_status(objects.airflow(), SpecError("bad"), now=NOW)
    assert_accepted("Airflow", status)
    assert word(status) == "Failed"


parts = st.sampled_from([*names.COMPONENTS, "postgresql"])
workloads = st.dictionaries(
    parts,
    st.fixed_dictionaries(
        {"ready": st.integers(0, 2), "generation": st.integers(1, 2), "updatedReplicas": st.integers(0, 2)}
    ),
)


@given(st.lists(workloads, min_size=1, max_size=4))
def test_whatever_is_up_the_status_is_accepted_and_settles(sequence: list[dict[str, Body]]) -> None:
    body = objects.airflow()
    for found in sequence:
        live = [
            workload(
                names.airflow_postgres("orchestra")
                if part == "postgresql"
                else names.airflow_component("orchestra", part),
                **changes,
            )
            for part, changes in found.items()
        ]
        status = status_of(live, body=body)
        body = {**objects.airflow(), "status": status}
        again = airflow_status(objects.airflow_value(), body, live, (), now=LATER)
        assert again == status


def test_somebodys_annotation_on_a_part_that_was_up_takes_nothing_away() -> None:
    """It makes a new generation, which the Deployment's controller has not looked at for a moment."""
    before = status_of(all_up())
    body = {**objects.airflow(), "status": before}
    value, annotated = objects.airflow_value(), all_up(**scheduler(generation=2))
    assert airflow_status(value, body, annotated, (), now=LATER, changed=False) == before
    for changed, seen in ((True, body), (False, objects.airflow()), (False, {**body, "metadata": EDITED})):
        status = airflow_status(value, seen, annotated, (), now=LATER, changed=changed)
        assert not is_true(status, "Ready")


EDITED = {**objects.airflow()["metadata"], "generation": 2}


@pytest.mark.parametrize(
    ("users", "shown"),
    [
        (["churn", "mnist"], "churn, mnist;"),
        ([f"p{number:02}" for number in range(12)], "p08, p09 and 2 more;"),
    ],
)
def test_a_deletion_that_waits_says_for_whom(users: list[str], shown: str) -> None:
    body = {**objects.airflow(), "status": status_of(all_up())}
    status = with_waiting_deletion(body["status"], body, users, now=LATER)
    assert_accepted("Airflow", status)
    assert shown in status["message"]
    assert is_true(status, "Ready")
    assert is_true(status, "DeletionBlocked")
    again = {**body, "status": status}
    assert with_waiting_deletion(status, again, users, now=LATER) == status
