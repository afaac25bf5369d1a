from __future__ import annotations

from typing import Any

import pytest

from mlpipeline_operator.errors import SpecError
from mlpipeline_operator.validate import validate_run
from mlpipeline_operator.values import Owner, RunValue


def body(name: str = "mnist-1", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "team", "uid": "u-2"}, "spec": spec}


def test_a_run_knows_its_pipeline_and_its_overrides_as_strings() -> None:
    assert validate_run(
        body(pipelineRef={"name": "mnist"}, parameters={"epochs": 1, "shuffle": False})
    ) == RunValue(
        owner=Owner("mlpipelines.dev/v1alpha1", "MLPipelineRun", "team", "mnist-1", "u-2"),
        pipeline="mnist",
        dag_run_id="mnist-1.u-2",
        is_mirrored=False,
        parameters={"epochs": "1", "shuffle": "false"},
        cancel=False,
        suspend=False,
    )


def test_a_run_that_airflow_had_first_keeps_its_id_there() -> None:
    run = body(pipelineRef={"name": "mnist"}, suspend=True)
    run["metadata"]["annotations"] = {"mlpipelines.dev/dag-run-id": "scheduled__2026-11-22T02:00:00+00:00"}
    value = validate_run(run)
    assert value.is_mirrored
    assert value.dag_run_id == "scheduled__2026-11-22T02:00:00+00:00"
    assert (value.cancel, value.suspend) == (False, True)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "spec.pipelineRef: field required"),
        (
            {"pipelineRef": {"name": "mnist"}, "parameters": {"layers": [64, 32]}},
            "spec.parameters.layers: must be a string, a number or a boolean, not a list;"
            " quote it to pass it as text",
        ),
    ],
)
def test_a_run_that_cannot_be_made_is_refused(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as error:
        validate_run(body(**spec))
    assert error.value.message == message


def test_a_name_too_long_for_a_label_is_refused() -> None:
    with pytest.raises(SpecError, match="at most 63 characters"):
        validate_run(body("a" * 64, pipelineRef={"name": "mnist"}))
