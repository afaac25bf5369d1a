from __future__ import annotations

from typing import Any

import pytest

from mlpipeline_operator import names
from mlpipeline_operator.errors import SpecError
from mlpipeline_operator.validate import validate_airflow
from mlpipeline_operator.values import (
    AirflowValue,
    ArtifactsVolume,
    ComponentSettings,
    EmbeddedDatabase,
    ExternalDatabase,
    Images,
    Owner,
)

IMAGES = Images(airflow="airflow:1", trainer="trainer:1", postgres="postgres:1")


def body(name: str = "default", running: str | None = None, **spec: Any) -> dict[str, Any]:
    found = {"metadata": {"name": name, "namespace": "team", "uid": "u-3"}, "spec": spec}
    return {**found, "status": {"version": running}} if running else found


def validated(**spec: Any) -> AirflowValue:
    return validate_airflow(body(**spec), IMAGES)


def refusal(**spec: Any) -> str:
    with pytest.raises(SpecError) as error:
        validated(**spec)
    return error.value.message


def test_an_empty_spec_has_every_default_filled_in() -> None:
    assert validated() == AirflowValue(
        owner=Owner("mlpipelines.dev/v1alpha1", "Airflow", "team", "default", "u-3"),
        version="3.3.2",
        image="airflow:1",
        env=(),
        config={},
        service_type="ClusterIP",
        database=EmbeddedDatabase(image="postgres:1", size="5Gi", storage_class=None),
        artifacts=ArtifactsVolume(size="10Gi", storage_class=None, access_modes=("ReadWriteOnce",)),
        components=dict.fromkeys(names.COMPONENTS, ComponentSettings()),
        max_active_runs=16,
        retain=True,
    )


def test_a_missing_spec_is_an_empty_one() -> None:
    assert validate_airflow({"metadata": body()["metadata"]}, IMAGES) == validated()


def test_what_the_user_says_wins_over_every_default() -> None:
    limits = {"limits": {"memory": "1Gi"}}
    value = validated(
        version="3.4.0",
        image="mine:1",
        executor="KubernetesExecutor",
        env=[{"name": "AIRFLOW_CONN_S3", "value": "aws://"}],
        config={"core": {"parallelism": 64, "load_examples": False}},
        service={"type": "NodePort"},
        database={"embedded": {"storage": {"size": "1Gi", "storageClassName": "fast"}, "resources": limits}},
        artifacts={"size": "1Ti", "storageClassName": "nfs", "accessModes": ["ReadWriteMany"]},
        apiServer={"replicas": 2, "resources": limits},
        dagProcessor={"resources": limits},
        maxActiveRuns=1,
        deletionPolicy="Delete",
    )
    assert (value.version, value.image) == ("3.4.0", "mine:1")
    assert value.env == ({"name": "AIRFLOW_CONN_S3", "value": "aws://"},)
    assert value.config == {"core": {"parallelism": "64", "load_examples": "false"}}
    assert value.service_type == "NodePort"
    assert value.database == EmbeddedDatabase("postgres:1", "1Gi", "fast", limits)
    assert value.artifacts == ArtifactsVolume("1Ti", "nfs", ("ReadWriteMany",))
    assert value.components["api-server"] == ComponentSettings(2, limits)
    assert value.components["dag-processor"] == ComponentSettings(1, limits)
    assert value.components["triggerer"] == ComponentSettings()
    assert (value.max_active_runs, value.retain) == (1, False)


def test_a_database_of_ones_own_is_found_under_connection_by_default() -> None:
    assert validated(database={"secretRef": {"name": "db"}}).database == ExternalDatabase("db", "connection")
    assert validated(database={"secretRef": {"name": "db", "key": "url"}}).database == ExternalDatabase(
        "db", "url"
    )


def test_another_version_needs_an_image_of_it() -> None:
    assert refusal(version="3.2.0") == (
        "spec.version: this operator's image holds Airflow 3.3.2; for 3.2.0 set spec.image to an image of it,"
        " built from the project's Dockerfile"
    )


def test_an_operator_with_a_newer_airflow_does_not_migrate_a_database_by_itself() -> None:
    with pytest.raises(SpecError) as error:
        validate_airflow(body(running="3.1.0"), IMAGES)
    assert error.value.reason == "VersionNotAvailable"
    assert error.value.message == (
        "this Airflow runs 3.1.0, and this operator's image holds 3.3.2: set spec.version to 3.3.2 to upgrade"
        " (the database is migrated), or spec.image to an image of 3.1.0"
    )


def test_the_version_that_runs_sticks_where_there_is_an_image_of_it() -> None:
    assert validate_airflow(body(running="3.1.0", image="airflow:3.1.0"), IMAGES).version == "3.1.0"
    assert validate_airflow(body(running="3.1.0", version="3.3.2"), IMAGES).version == "3.3.2"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"core": {"executor": "LocalExecutor"}},
            "spec.config.core.executor: cannot be set here: use spec.executor",
        ),
        (
            {"database": {"SQL_ALCHEMY_CONN": "sqlite://"}},
            "spec.config.database.SQL_ALCHEMY_CONN: cannot be set here: use spec.database",
        ),
        (
            {"core": {"dags folder": "/x"}},
            'spec.config.core.dags folder: "dags folder" is not a name in airflow.cfg:'
            ' letters, digits and "_" only',
        ),
        (
            {"core": {"x": ["a"]}},
            "spec.config.core.x: must be a string, a number or a boolean, not a list;"
            " quote it to pass it as text",
        ),
    ],
    ids=str,
)
def test_a_setting_that_cannot_be_is_refused(config: dict[str, Any], message: str) -> None:
    assert refusal(config=config) == message


def test_two_databases_are_refused() -> None:
    found = refusal(database={"embedded": {}, "secretRef": {"name": "db"}})
    assert found == "spec.database: embedded and secretRef exclude each other: keep one of them"


def test_a_volume_without_a_size_is_refused() -> None:
    assert refusal(artifacts={"size": 0}) == (
        'spec.artifacts.size: "0" is not the size of a volume; write for example 10Gi'
    )


def test_another_executor_is_refused() -> None:
    assert refusal(executor="LocalExecutor") == "spec.executor: input should be 'KubernetesExecutor'"


def test_resources_are_refused_with_the_name_that_the_user_wrote() -> None:
    assert refusal(apiServer={"resources": {"limits": {"cpu": "one"}}}).startswith(
        'spec.apiServer.resources.limits.cpu: "one" is not a quantity'
    )


def test_a_name_too_long_for_its_statefulset_is_refused() -> None:
    with pytest.raises(SpecError, match="at most 30 characters"):
        validate_airflow(body("a" * 31), IMAGES)
