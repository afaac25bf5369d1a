from __future__ import annotations

from typing import Any

import pytest

from mlpipeline_operator.errors import SpecError
from mlpipeline_operator.validate import validate_pipeline
from mlpipeline_operator.values import ContainerStep, Images, PipelineValue

IMAGES = Images(airflow="airflow:1", trainer="trainer:1", postgres="postgres:1")


def validated(*steps: dict[str, Any], **spec: Any) -> PipelineValue:
    metadata = {"name": "churn", "namespace": "team", "uid": "u-1"}
    return validate_pipeline({"metadata": metadata, "spec": {"steps": list(steps), **spec}}, IMAGES)


def step(name: str, *depends_on: str, **fields: Any) -> dict[str, Any]:
    found = {"name": name, "command": ["true"], **fields}
    return {**found, "dependsOn": list(depends_on)} if depends_on else found


def refusal(*steps: dict[str, Any], **spec: Any) -> str:
    with pytest.raises(SpecError) as error:
        validated(*steps, **spec)
    return error.value.message


def test_a_step_without_an_image_runs_in_the_trainers() -> None:
    assert validated(step("only")).steps == (
        ContainerStep(
            name="only",
            image="trainer:1",
            image_pull_policy="IfNotPresent",
            own_pod=False,
            command=("true",),
            args=(),
            env=(),
            resources={},
            depends_on=(),
            reads=(),
            retries=None,
        ),
    )


def test_a_step_with_an_image_has_a_pod_of_its_own() -> None:
    (found,) = validated({"name": "only", "image": "registry.example/tools"}).steps
    assert isinstance(found, ContainerStep)
    assert (found.own_pod, found.image_pull_policy, found.command) == (True, "Always", ())


def test_steps_stand_in_an_order_in_which_they_may_run() -> None:
    value = validated(
        step("report", "test", "train"), step("train", "split"), step("test", "train"), step("split")
    )
    assert [each.name for each in value.steps] == ["split", "train", "test", "report"]


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([step("a", "a")], "spec.steps: step a cannot depend on itself"),
        ([step("a"), step("b", "c")], "spec.steps: step b depends on c, which there is not; there are a, b"),
        ([step("a"), step("a")], "spec.steps: there are two steps a; rename one of them"),
        ([step("a"), {"name": "b"}], "spec.steps[b].command: without image the step runs in"),
        ([step("A b")], 'spec.steps: "A b" will not do as the name of a step'),
    ],
)
def test_what_cannot_be_run_is_refused(steps: list[dict[str, Any]], message: str) -> None:
    assert refusal(*steps).startswith(message)


def test_a_circle_is_told_in_its_order() -> None:
    message = refusal(step("a", "c"), step("b", "a"), step("c", "b"), step("d"))
    start, _, circle = message.rpartition(": ")
    assert start == "spec.steps: the steps depend on each other in a circle"
    names = circle.split(" -> ")
    assert names[0] == names[-1]
    assert sorted(names[1:]) == ["a", "b", "c"]


def test_training_and_steps_exclude_each_other() -> None:
    assert refusal(step("a"), training={"dataset": "mnist"}) == (
        "spec: say what to run: exactly one of training, steps and dag"
    )


def test_texts_may_refer_to_parameters_and_to_what_earlier_steps_left() -> None:
    value = validated(
        step("split"),
        step("train", "split"),
        step(
            "report",
            "train",
            args=["$(steps.split.outputs.rows)", "$(params.lr)", "$(HOSTNAME)", "$$(steps.x)"],
            env=[{"name": "LOSS", "value": "$(steps.train.outputs.val_loss)"}],
        ),
        parameters={"lr": 0.1},
    )
    report = value.steps[-1]
    assert isinstance(report, ContainerStep)
    assert report.reads == ("split", "train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "$(params.lr)",
            "spec.steps[b].args[0]: $(params.lr) is no parameter of this pipeline:"
            " give it a value in spec.parameters",
        ),
        (
            "$(steps.c.outputs.k)",
            "spec.steps[b].args[0]: $(steps.c.outputs.k) needs step c to have ended before step b begins:"
            " name it in the dependsOn of b",
        ),
        (
            "$(steps.a.rows)",
            "spec.steps[b].args[0]: $(steps.a.rows) is no output of a step; write $(steps.NAME.outputs.KEY)",
        ),
    ],
)
def test_a_reference_to_what_will_not_be_there_is_refused(text: str, message: str) -> None:
    assert refusal(step("a"), step("b", "a", args=[text]), step("c")) == message


def test_the_run_hash_is_that_of_what_runs_not_of_how_well() -> None:
    first = validated(step("a"), step("b", "a"))
    same = validated(
        step("b", "a", retries=3, resources={"limits": {"cpu": 1}}), step("a", imagePullPolicy="Always")
    )
    assert same.run_hash == first.run_hash
    for other in (
        validated(step("a"), step("b")),
        validated(step("a"), step("b", "a", args=["x"])),
        validated(step("a"), step("b", "a", image="tools:1")),
        validated(step("a"), step("b", "a", env=[{"name": "A", "value": "1"}])),
        validated(step("a"), step("b", "a"), parameters={"lr": 1}),
    ):
        assert other.run_hash != first.run_hash
