"""Values whose names differ from the product's, so that a swapped label or a fixed name shows."""

from dataclasses import replace

import pytest

from mlpipeline_operator import names
from mlpipeline_operator.values import (
    AirflowValue,
    ArtifactsVolume,
    ComponentSettings,
    EmbeddedDatabase,
    ExternalDatabase,
    Owner,
)


@pytest.fixture
def value() -> AirflowValue:
    return AirflowValue(
        owner=Owner("mlpipelines.dev/v1alpha1", "Airflow", "research", "orchestra", "uid-of-orchestra"),
        version="3.3.2",
        image="images.test/airflow:3.3.2",
        env=({"name": "TEAM", "value": "physics"},),
        config={},
        service_type="ClusterIP",
        database=EmbeddedDatabase("images.test/postgres:17", "3Gi", "fast"),
        artifacts=ArtifactsVolume("7Gi", "shared", ("ReadWriteMany",)),
        components={component: ComponentSettings() for component in names.COMPONENTS},
        max_active_runs=5,
        retain=False,
    )


@pytest.fixture
def retained(value: AirflowValue) -> AirflowValue:
    return replace(value, retain=True)


@pytest.fixture
def external(value: AirflowValue) -> AirflowValue:
    return replace(value, database=ExternalDatabase("company-database", "url"))
