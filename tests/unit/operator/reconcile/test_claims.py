"""Two pipelines with one dag_id: the older one has it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from mlpipeline_operator.context import PlacedPipeline
from mlpipeline_operator.errors import SpecError
from mlpipeline_operator.kinds import PIPELINE
from mlpipeline_operator.reconcile.claims import claim_dags, release_dags
from mlpipeline_operator.validate import validate_pipeline
from mlpipeline_operator.values import Images, PipelineValue

IMAGES = Images("airflow:1", "trainer:1", "postgres:1")
CREATED = {"old": "2026-01-01T00:00:00Z", "young": "2026-02-01T00:00:00Z"}


class Context:
    """As much of the operator's as claims need."""

    def __init__(self) -> None:
        self.pipelines: dict[tuple[str, str], PlacedPipeline | None] = {}
        self.claims: dict[tuple[str, str, str], str] = {}
        self.conflicts: set[tuple[str, str]] = set()
        self.queue: list[tuple[str, str, str]] = []
        self.store = SimpleNamespace(get=self._get)
        self.connections = SimpleNamespace(await_dag=lambda *_: None)

    def enqueue(self, key: tuple[str, str, str]) -> None:
        self.queue.append(key)

    @staticmethod
    def _get(_kind: str, _namespace: str, name: str) -> Any:
        return {"metadata": {"creationTimestamp": CREATED[name]}}


def pipeline(name: str, dag_id: str) -> PipelineValue:
    metadata = {"name": name, "namespace": "team", "uid": name}
    dag = {"files": {"a.py": f'DAG("{dag_id}")'}}
    return validate_pipeline({"metadata": metadata, "spec": {"dag": dag}}, IMAGES)


@pytest.fixture
def context() -> Context:
    return Context()


@pytest.fixture
def place(context: Context) -> Callable[[str, str], None]:
    def place(name: str, dag_id: str) -> None:
        value = pipeline(name, dag_id)
        claim_dags(context, value)  # type: ignore[arg-type]
        context.pipelines["team", name] = PlacedPipeline(value, "h", "c")

    return place


def test_the_younger_one_gives_way(context: Context, place: Callable[[str, str], None]) -> None:
    place("old", "nightly")
    with pytest.raises(SpecError, match="MLPipeline old has the DAG nightly already") as error:
        place("young", "nightly")
    assert error.value.reason == "DagIdConflict"
    assert context.conflicts == {("team", "young")}
    assert context.pipelines["team", "young"] is None


def test_whoever_came_first_the_older_one_gets_it_and_the_other_looks_again(
    context: Context, place: Callable[[str, str], None]
) -> None:
    place("young", "nightly")
    place("old", "nightly")
    assert context.queue == [(PIPELINE, "team", "young")]
    with pytest.raises(SpecError):
        place("young", "nightly")


def test_a_dag_that_is_given_up_is_free_for_the_other(
    context: Context, place: Callable[[str, str], None]
) -> None:
    place("old", "nightly")
    with pytest.raises(SpecError):
        place("young", "nightly")
    place("old", "weekly")
    assert context.queue == [(PIPELINE, "team", "young")]
    place("young", "nightly")
    assert context.conflicts == set()


def test_a_deleted_pipeline_gives_up_its_dags(context: Context, place: Callable[[str, str], None]) -> None:
    place("old", "nightly")
    release_dags(context, "team", "old")  # type: ignore[arg-type]
    assert context.claims == {}
