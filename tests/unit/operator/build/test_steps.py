"""The pods that the DAG of a pipeline with steps names; real Airflow makes them in tests/airflow."""

from __future__ import annotations

import ast
import re
from typing import Any

from mlpipeline_operator import names
from mlpipeline_operator.build.dag import render_dag
from mlpipeline_operator.validate import validate_pipeline
from mlpipeline_operator.values import Images

IMAGES = Images("airflow:1", "registry.example/trainer:1", "postgres:1")
OWN = {"name": "own", "image": "tools:1", "args": ["x"], "env": [{"name": "HOME", "value": "/data/me"}]}
PLAIN = {
    "name": "plain",
    "command": ["python", "a.py"],
    "args": ["--lr=1"],
    "env": [{"name": "A", "value": "$(params.a)"}, {"name": "B", "value": "b"}],
    "resources": {"limits": {"memory": "1Gi"}},
    "retries": 0,
    "dependsOn": ["own"],
}


def text(*steps: dict[str, Any]) -> str:
    metadata = {"name": "churn", "namespace": "team", "uid": "0c1d"}
    spec = {"steps": list(steps), "parameters": {"a": 1}, "runPolicy": {"retries": 3}}
    return render_dag(validate_pipeline({"metadata": metadata, "spec": spec}, IMAGES)).text


def rendered(*steps: dict[str, Any]) -> dict[str, Any]:
    """Return the steps as the DAG has them, by name."""
    match = re.search(r"^STEPS = (\[.*?^\])$", text(*steps), re.DOTALL | re.MULTILINE)
    assert match
    return {step["name"]: step for step in ast.literal_eval(match[1])}


def test_a_step_without_an_image_is_one_pod_of_the_trainers() -> None:
    step = rendered(OWN, PLAIN)["plain"]
    assert "pod" not in step
    assert (step["after"], step["retries"]) == (["own"], 0)
    assert step["command"] == ["python", "a.py", "--lr=1"]
    assert step["resolved"] == ["A"]
    container = step["worker"]["spec"]["containers"][0]
    assert container["image"] == "registry.example/trainer:1"
    assert container["resources"] == {"limits": {"memory": "1Gi"}}
    assert step["worker"]["metadata"]["labels"][names.STEP_LABEL] == "plain"


def test_the_users_code_never_has_the_launchers_account() -> None:
    steps = rendered(OWN, PLAIN)
    assert steps["own"]["worker"]["spec"]["serviceAccountName"] == "airflow-default-launcher"
    assert "image" not in steps["own"]["worker"]["spec"]["containers"][0]
    assert steps["own"]["pod"]["spec"]["serviceAccountName"] == "airflow-default-worker"
    assert steps["own"]["pod"]["spec"]["automountServiceAccountToken"] is False
    assert steps["plain"]["worker"]["spec"]["serviceAccountName"] == "airflow-default-worker"


def test_both_pods_belong_to_the_pipeline_and_only_one_is_the_steps() -> None:
    step = rendered(OWN)["own"]
    for pod in (step["worker"], step["pod"]):
        assert pod["metadata"]["ownerReferences"][0]["uid"] == "0c1d"
        assert pod["metadata"]["labels"].items() >= names.pipeline_labels("churn").items()
    assert step["worker"]["metadata"]["labels"][names.ROLE_LABEL] == names.LAUNCHER_ROLE
    assert names.ROLE_LABEL not in step["pod"]["metadata"]["labels"]


def test_a_step_that_asks_for_nothing_has_what_the_workers_template_asks_for() -> None:
    modest = {"name": "modest", "command": ["true"]}
    container = rendered(modest)["modest"]["worker"]["spec"]["containers"][0]
    assert "resources" not in container, "empty ones would replace the template's"


def test_every_pod_is_in_its_pipelines_namespace_wherever_airflow_is() -> None:
    steps = rendered(OWN, PLAIN)
    pods = [steps["own"]["worker"], steps["own"]["pod"], steps["plain"]["worker"]]
    assert [pod["metadata"]["namespace"] for pod in pods] == ["team"] * 3


def test_an_escaped_reference_reaches_the_dag_through_the_kubelet() -> None:
    escaped = {"name": "plain", "command": ["true"], "env": [{"name": "A", "value": "$$(params.seed) $(B)"}]}
    container = rendered(escaped)["plain"]["worker"]["spec"]["containers"][0]
    # The kubelet makes $( of $$(, also where that is followed by another.
    assert container["env"] == [{"name": "A", "value": "$$$$(params.seed) $(B)"}]


def test_what_the_user_sets_wins_over_a_default_of_ours() -> None:
    container = rendered(OWN)["own"]["pod"]["spec"]["containers"][0]
    assert container["env"] == [{"name": "HOME", "value": "/data/me"}]


def test_a_step_sees_its_own_pipelines_folder_alone() -> None:
    (mount,) = [
        each
        for each in rendered(OWN)["own"]["pod"]["spec"]["containers"][0]["volumeMounts"]
        if each["name"] == "artifacts"
    ]
    assert mount["subPath"] == "team/churn"


def test_the_file_holds_only_what_its_steps_need() -> None:
    assert "class PodStep" in text(OWN, PLAIN)
    assert "class PodStep" not in text({**PLAIN, "dependsOn": []})
    for steps in ([OWN], [OWN, PLAIN], [{**PLAIN, "dependsOn": []}]):
        found = text(*steps)
        compile(found, "dag.py", "exec")
        assert "run_training" not in found
        assert re.findall(r"# </?(?:training|steps|pods)", found) == []
