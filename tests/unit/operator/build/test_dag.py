"""The rendered DAG file: plain text in, plain text out; real Airflow parses it in tests/airflow."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpipeline_operator import names
from mlpipeline_operator.build.dag import render_dag
from mlpipeline_operator.build.delivery import delivery
from mlpipeline_operator.values import Objective, Owner, PipelineValue, RunPolicy, TrainingStep

STEP = TrainingStep(
    name="train",
    image="registry.example/trainer:1",
    image_pull_policy="IfNotPresent",
    python="/opt/trainer/bin/python",
    dataset="mnist",
    data_uri=None,
    entrypoint=None,
    env=({"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},),
    resources={"limits": {"memory": "4Gi"}},
    gpu=False,
)
PIPELINE = PipelineValue(
    owner=Owner("mlpipelines.dev/v1alpha1", "MLPipeline", "team-a", "mnist", "0c1d"),
    airflow="default",
    dag_id="team-a.mnist",
    steps=(STEP,),
    parameters={"epochs": "3", "lr": "0.001"},
    objective=Objective("val_accuracy", "Maximize"),
    schedule=None,
    timezone="UTC",
    suspend=False,
    policy=RunPolicy(on_change=True, retries=2),
    service_account="airflow-default-worker",
    artifacts_claim="airflow-default-artifacts",
    run_hash="abc",
)
# What a ConfigMap, being UTF-8, can hold.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def constants(text: str) -> dict[str, Any]:
    """Return the literals at the head of a DAG file; anything else there is an error."""
    block = re.search(r"# <pipeline>\n(.*)# </pipeline>\n", text, re.DOTALL)
    assert block
    found = {}
    for statement in ast.parse(block[1]).body:
        assert isinstance(statement, ast.Assign)
        target = statement.targets[0]
        assert isinstance(target, ast.Name)
        found[target.id] = ast.literal_eval(statement.value)
    return found


def pod(text: str) -> Any:
    return constants(text)["STEPS"][0]["worker"]


def test_the_file_tells_its_pipeline_and_its_hash() -> None:
    rendered = render_dag(PIPELINE)
    assert '"""The DAG of MLPipeline team-a/mnist' in rendered.text
    assert constants(rendered.text)["TAGS"] == [names.DAG_TAG, names.dag_hash_tag(rendered.hash)]
    assert constants(rendered.text)["DAG_ID"] == "team-a.mnist"


def test_the_hash_is_that_of_the_text_without_it() -> None:
    rendered = render_dag(PIPELINE)
    assert names.short_hash(rendered.text.replace(rendered.hash, "")) == rendered.hash


def test_the_same_pipeline_gives_the_same_text() -> None:
    shuffled = replace(PIPELINE, parameters={"lr": "0.001", "epochs": "3"})
    assert render_dag(shuffled) == render_dag(PIPELINE)


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": {"epochs": "4"}},
        {"policy": RunPolicy(on_change=True, retries=3)},
        {"policy": replace(PIPELINE.policy, concurrency="Forbid")},
        {"policy": replace(PIPELINE.policy, deadline=60)},
        {"schedule": "0 2 * * *"},
        {"service_account": "other"},
        {"steps": (replace(STEP, image="other:2"),)},
        {"objective": None},
    ],
)
def test_what_changes_the_text_changes_the_hash(change: dict[str, Any]) -> None:
    assert render_dag(replace(PIPELINE, **change)).hash != render_dag(PIPELINE).hash


def test_what_only_says_when_to_run_changes_nothing() -> None:
    assert render_dag(replace(PIPELINE, run_hash="other")) == render_dag(PIPELINE)
    for other in ({"on_change": False}, {"keep_failed": 1}, {"ttl_after_finished": 60}):
        assert render_dag(replace(PIPELINE, policy=replace(PIPELINE.policy, **other))) == render_dag(PIPELINE)


def test_a_suspended_pipeline_has_no_schedule_in_airflow() -> None:
    scheduled = replace(PIPELINE, schedule="@daily", timezone="Europe/Berlin")
    assert constants(render_dag(scheduled).text)["SCHEDULE"] == "@daily"
    assert constants(render_dag(scheduled).text)["TIMEZONE"] == "Europe/Berlin"
    assert constants(render_dag(replace(scheduled, suspend=True)).text)["SCHEDULE"] is None


@pytest.mark.parametrize(("concurrency", "at_once"), [("Allow", None), ("Forbid", 1), ("Replace", None)])
def test_only_forbid_has_airflow_hold_a_run_back(concurrency: Any, at_once: int | None) -> None:
    policy = replace(PIPELINE.policy, concurrency=concurrency)
    assert constants(render_dag(replace(PIPELINE, policy=policy)).text)["MAX_ACTIVE_RUNS"] == at_once


@settings(deadline=None)
@given(st.dictionaries(TEXT, TEXT, max_size=5))
def test_any_parameter_comes_out_of_the_file_as_it_went_in(parameters: dict[str, str]) -> None:
    text = render_dag(replace(PIPELINE, parameters=parameters)).text
    assert constants(text)["PARAMETERS"] == parameters
    compile(text, "dag.py", "exec")


@settings(deadline=None)
@given(TEXT, TEXT, TEXT)
def test_no_text_of_a_users_becomes_code(image: str, entrypoint: str, value: str) -> None:
    step = replace(STEP, image=image, entrypoint=entrypoint, env=({"name": "A", "value": value},))
    text = render_dag(replace(PIPELINE, steps=(step,))).text
    assert constants(text)["STEPS"][0]["environment"]["MLP_ENTRYPOINT"] == entrypoint
    container = pod(text)["spec"]["containers"][0]
    assert container["image"] == image
    assert container["env"] == [{"name": "A", "value": value}]
    # The rest of the file is the template's, to the letter.
    end = "\n# </pipeline>\n"
    assert text.partition(end)[2] == render_dag(PIPELINE).text.partition(end)[2]


def test_a_value_that_has_no_literal_is_refused() -> None:
    step = replace(STEP, resources={"limits": {"memory": object()}})
    with pytest.raises(TypeError, match="has no place in a DAG"):
        render_dag(replace(PIPELINE, steps=(step,)))


def test_the_pod_belongs_to_the_pipeline_and_leaves_security_to_airflows_template() -> None:
    found = pod(render_dag(PIPELINE).text)
    assert found["metadata"]["labels"] == {**names.pipeline_labels("mnist"), names.STEP_LABEL: "train"}
    assert found["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "mlpipelines.dev/v1alpha1",
            "kind": "MLPipeline",
            "name": "mnist",
            "uid": "0c1d",
            "controller": False,
            "blockOwnerDeletion": False,
        }
    ]
    assert found["metadata"]["namespace"] == "team-a"
    # KubernetesExecutor replaces a template's securityContext as a whole by the override's.
    assert "securityContext" not in found["spec"]
    assert "securityContext" not in found["spec"]["containers"][0]


def test_the_pod_mounts_the_shared_volume_where_the_model_goes() -> None:
    text = render_dag(PIPELINE).text
    spec = pod(text)["spec"]
    mount = spec["containers"][0]["volumeMounts"][0]
    assert spec["volumes"] == [
        {"name": mount["name"], "persistentVolumeClaim": {"claimName": PIPELINE.artifacts_claim}}
    ]
    assert constants(text)["ARTIFACTS"] == f"{mount['mountPath']}/team-a/mnist"
    assert constants(text)["ARTIFACTS_URI"] == "pvc://airflow-default-artifacts/team-a/mnist"


def test_the_environment_names_only_what_is_set() -> None:
    step = replace(STEP, dataset=None, data_uri="gs://bucket/data", entrypoint="a.b:main", gpu=True)
    text = render_dag(replace(PIPELINE, steps=(step,), objective=None)).text
    assert constants(text)["STEPS"][0]["environment"] == {
        "MLP_DATA_URI": "gs://bucket/data",
        "MLP_ENTRYPOINT": "a.b:main",
        "MLP_EXPECT_GPU": "1",
    }


def test_the_config_map_is_immutable_and_named_by_the_hash() -> None:
    rendered = render_dag(PIPELINE)
    digest, config_map = delivery(PIPELINE)
    assert digest == rendered.hash
    assert config_map["immutable"] is True
    assert config_map["data"] == {"dag.py": rendered.text}
    metadata = config_map["metadata"]
    assert (metadata["namespace"], metadata["name"]) == ("team-a", f"mnist-dag-{rendered.hash}")
    assert metadata["labels"][names.ROLE_LABEL] == "dag"
    assert metadata["labels"][names.AIRFLOW_LABEL] == "default"
    assert metadata["ownerReferences"][0]["uid"] == "0c1d"
