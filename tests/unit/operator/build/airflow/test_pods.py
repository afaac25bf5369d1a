from dataclasses import replace

import pytest

from mlpipeline_operator.build.airflow.pods import merge_env
from mlpipeline_operator.values import AirflowValue
from tests.unit.operator.build.airflow.helpers import containers, environment, pods, worker

SECRET_VARIABLES = {
    "AIRFLOW__CORE__FERNET_KEY",
    "AIRFLOW__API__SECRET_KEY",
    "AIRFLOW__API_AUTH__JWT_SECRET",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
}


def test_every_pod_meets_the_restricted_standard(value: AirflowValue) -> None:
    seen = 0
    for name, spec in pods(value):
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] > 0, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in containers(spec):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }, (name, container["name"])
            seen += 1
    # Four components and the init container of one, the database, the worker.
    assert seen == 7


def test_whatever_is_mounted_is_a_volume_of_the_pod(value: AirflowValue) -> None:
    for name, spec in pods(value):
        volumes = {volume["name"] for volume in spec["volumes"]} | (
            {"data"} if "postgresql" in name else set()
        )
        for container in containers(spec):
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes, (
                name,
                container["name"],
            )


def test_no_worker_sees_a_secret(value: AirflowValue, external: AirflowValue) -> None:
    for each in (value, external):
        [container] = worker(each)["spec"]["containers"]
        assert SECRET_VARIABLES.isdisjoint(environment(container))
        assert "secret" not in str(worker(each)).lower().replace("secretkeyref", "secret")


def test_components_take_secrets_by_reference_only(value: AirflowValue) -> None:
    for name, spec in pods(value):
        if name == "worker":
            continue
        for container in containers(spec):
            for variable, entry in environment(container).items():
                if variable in SECRET_VARIABLES or "PASSWORD" in variable:
                    assert set(entry) == {"name", "valueFrom"}, (name, variable)
                    assert "secretKeyRef" in entry["valueFrom"], (name, variable)


def test_an_external_database_is_the_one_that_components_talk_to(external: AirflowValue) -> None:
    for name, spec in pods(external):
        if name == "worker":
            continue
        for container in containers(spec):
            reference = environment(container)["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]["valueFrom"]
            assert reference == {"secretKeyRef": {"name": "company-database", "key": "url"}}, name


def test_the_users_environment_reaches_all_airflow_containers_but_not_the_database(
    value: AirflowValue,
) -> None:
    for name, spec in pods(value):
        for container in containers(spec):
            present = environment(container).get("TEAM", {}).get("value") == "physics"
            assert present is ("postgresql" not in name), (name, container["name"])


def test_the_users_environment_cannot_replace_a_secret(value: AirflowValue) -> None:
    greedy = replace(value, env=({"name": "AIRFLOW__CORE__FERNET_KEY", "value": "known"},))
    for name, spec in pods(greedy):
        if "postgresql" in name or name == "worker":
            continue
        for container in containers(spec):
            assert "value" not in environment(container)["AIRFLOW__CORE__FERNET_KEY"], name


def test_no_variable_is_named_twice_in_one_container(value: AirflowValue) -> None:
    greedy = replace(value, env=({"name": "HOME", "value": "/x"}, {"name": "HOME", "value": "/y"}))
    for name, spec in pods(greedy):
        for container in containers(spec):
            found = [entry["name"] for entry in container.get("env", [])]
            assert len(found) == len(set(found)), (name, container["name"])


def test_of_two_variables_with_one_name_the_later_stays() -> None:
    assert merge_env([{"name": "A", "value": "1"}], [{"name": "A", "value": "2"}]) == [
        {"name": "A", "value": "2"}
    ]


@pytest.mark.parametrize("role", ["triggerer", "postgresql"])
def test_who_never_talks_to_the_api_server_gets_no_token(value: AirflowValue, role: str) -> None:
    found = dict(pods(value))
    assert found[f"airflow-orchestra-{role}"]["automountServiceAccountToken"] is False


def test_no_pod_is_told_of_the_namespaces_services(value: AirflowValue) -> None:
    # A Service named airflow-... would otherwise become variables named AIRFLOW_...
    assert all(spec["enableServiceLinks"] is False for _, spec in pods(value))
