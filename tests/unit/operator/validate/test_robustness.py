"""Whatever the schema lets through, validation answers with a value or a SpecError."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlpipeline_operator.api import crd
from mlpipeline_operator.api.base import Definition
from mlpipeline_operator.api.schema import structural
from mlpipeline_operator.errors import SpecError
from mlpipeline_operator.validate import validate_airflow, validate_pipeline, validate_run
from mlpipeline_operator.values import Images

IMAGES = Images(airflow="airflow:1", trainer="trainer:1", postgres="postgres:1")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
quantities = (
    st.integers() | st.sampled_from(["1", "500m", "4Gi", "1e3", "4GB", "-1", "0"]) | st.text(max_size=6)
)


def from_schema(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that the structural schema (not its CEL rules) accepts."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return quantities
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return json_values
    makers: dict[str, Callable[[dict[str, Any]], st.SearchStrategy[Any]]] = {
        "object": _object,
        "array": lambda node: st.lists(from_schema(node["items"]), max_size=2),
        "string": lambda node: st.text(min_size=node.get("minLength", 0), max_size=12),
        "integer": lambda node: st.integers(node.get("minimum"), node.get("maximum")),
        "boolean": lambda node: st.booleans(),
    }
    return makers[schema["type"]](schema)


def _object(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "additionalProperties" in schema:
        return st.dictionaries(st.text(max_size=8), from_schema(schema["additionalProperties"]), max_size=3)
    children = {name: from_schema(child) for name, child in schema.get("properties", {}).items()}
    required = set(schema.get("required", ()))
    return st.fixed_dictionaries(
        {name: child for name, child in children.items() if name in required},
        optional={name: child for name, child in children.items() if name not in required},
    )


VALIDATORS: dict[str, Callable[[dict[str, Any]], object]] = {
    "MLPipeline": lambda body: validate_pipeline(body, IMAGES),
    "MLPipelineRun": validate_run,
    "Airflow": lambda body: validate_airflow(body, IMAGES),
}


@pytest.mark.parametrize("definition", crd.DEFINITIONS, ids=lambda each: each.kind)
def test_validation_raises_nothing_but_spec_errors_on_what_the_schema_accepts(definition: Definition) -> None:
    schema = structural(definition.model)["properties"]["spec"]

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(from_schema(schema), st.text(min_size=1, max_size=70))
    def check(spec: dict[str, Any], name: str) -> None:
        body = {"metadata": {"name": name, "namespace": "team", "uid": "u"}, "spec": spec}
        with contextlib.suppress(SpecError):
            VALIDATORS[definition.kind](body)
        body["metadata"]["name"] = "valid"
        with contextlib.suppress(SpecError):
            VALIDATORS[definition.kind](body)

    check()
