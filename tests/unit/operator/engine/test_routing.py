"""Who is looked at again when something changes."""

from typing import Any

import pytest

from mlpipeline_operator import names
from mlpipeline_operator.routing import BUNDLE, dependents, pipeline_airflow, run_pipeline
from mlpipeline_operator.store import Store

Body = dict[str, Any]


def thing(kind: str, name: str, labels: dict[str, str] | None = None, **fields: Any) -> Body:
    metadata: Body = {
        "name": name,
        "namespace": "research",
        "uid": name,
        "resourceVersion": "1",
        "labels": labels or {},
    }
    metadata |= fields.pop("metadata", {})
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **fields}


def routes(body: Body, *known: Body) -> set[tuple[str, str, str]]:
    store = Store()
    for each in known:
        store.put(each)
    return set(dependents(store, body))


def test_a_run_concerns_its_pipeline() -> None:
    run = thing("MLPipelineRun", "digits-1", spec={"pipelineRef": {"name": "digits"}})
    assert routes(run) == {("MLPipeline", "research", "digits")}


def test_a_pipeline_concerns_its_runs() -> None:
    run = thing("MLPipelineRun", "by-hand", spec={"pipelineRef": {"name": "digits"}})
    stranger = thing("MLPipelineRun", "letters-1", spec={"pipelineRef": {"name": "letters"}})
    pipeline = thing("MLPipeline", "digits", spec={"airflow": {"name": "orchestra"}})
    assert routes(pipeline, run, stranger) == {("MLPipelineRun", "research", "by-hand")}


UID = "0a1b2c3d-0000-4000-8000-0123456789ab"


def step_pod(run_id: str) -> Body:
    labels = names.pipeline_labels("digits")
    return thing("Pod", "digits-train-abc", labels, metadata={"annotations": {"run_id": run_id}})


@pytest.mark.parametrize("name", ["digits-4", "my.own.run"])
def test_a_step_pod_concerns_its_run(name: str) -> None:
    run = thing("MLPipelineRun", name, spec={"pipelineRef": {"name": "digits"}})
    assert routes(step_pod(names.dag_run_id(name, UID)), run) == {("MLPipelineRun", "research", name)}


def test_a_pod_of_a_run_that_airflow_started_concerns_the_pipeline_until_the_run_has_a_resource() -> None:
    pipeline = thing("MLPipeline", "digits", spec={"airflow": {"name": "orchestra"}})
    orchestra = thing("Airflow", "orchestra")
    run_id = "scheduled__2026-11-22T02:00:00+00:00"
    name = names.foreign_run("digits", "orchestra", run_id)
    run = thing("MLPipelineRun", name, spec={"pipelineRef": {"name": "digits"}})
    of_run, of_pipeline = ("MLPipelineRun", "research", name), ("MLPipeline", "research", "digits")
    assert routes(step_pod(run_id), pipeline, orchestra) == {of_run, of_pipeline}
    assert routes(step_pod(run_id), pipeline, orchestra, run) == {of_run}


def test_a_run_of_airflows_is_another_one_in_another_airflow() -> None:
    assert names.foreign_run("digits", "uid-1", "manual__x") != names.foreign_run(
        "digits", "uid-2", "manual__x"
    )


def test_a_pod_of_airflow_itself_concerns_the_airflow() -> None:
    pod = thing("Pod", "airflow-orchestra-scheduler-0", names.airflow_labels("orchestra", "scheduler"))
    assert routes(pod) == {("Airflow", "research", "orchestra")}


def test_a_dag_config_map_concerns_its_pipeline() -> None:
    labels = {
        **names.pipeline_labels("digits"),
        names.ROLE_LABEL: "dag",
        names.AIRFLOW_LABEL: "orchestra",
    }
    assert routes(thing("ConfigMap", "digits-dag-1", labels)) == {("MLPipeline", "research", "digits")}


def test_the_bundles_own_config_maps_concern_the_bundle() -> None:
    labels = {**names.airflow_labels("orchestra"), names.ROLE_LABEL: "bundle"}
    assert routes(thing("ConfigMap", "pointer", labels)) == {(BUNDLE, "research", "orchestra")}


def test_a_child_of_an_airflow_concerns_the_airflow() -> None:
    deployment = thing("Deployment", "airflow-orchestra-scheduler", names.airflow_labels("orchestra"))
    assert routes(deployment) == {("Airflow", "research", "orchestra")}


def test_what_is_not_labelled_as_ours_concerns_nobody() -> None:
    assert routes(thing("ConfigMap", "somebodys")) == set()


def test_labels_that_a_user_put_on_our_kinds_mislead_nobody() -> None:
    airflow = thing("Airflow", "orchestra", {names.PIPELINE_LABEL: "digits", names.AIRFLOW_LABEL: "x"})
    assert routes(airflow) == set()


def test_a_pipeline_that_names_no_airflow_wants_the_default_one() -> None:
    assert pipeline_airflow({"spec": {}}) == "default"
    assert pipeline_airflow({"spec": {"airflow": None}}) == "default"
    assert pipeline_airflow({"spec": {"airflow": {"name": "orchestra"}}}) == "orchestra"


def test_a_run_without_a_spec_is_of_no_pipeline() -> None:
    assert run_pipeline({}) == ""
