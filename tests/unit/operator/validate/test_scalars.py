from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpipeline_operator.errors import SpecError
from mlpipeline_operator.validate import canonical, canonical_parameters

untyped = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("relu", "relu"),
        ("1.0", "1.0"),
        ("", ""),
        (True, "true"),
        (False, "false"),
        (3, "3"),
        (-3, "-3"),
        (1.0, "1"),
        (-0.0, "0"),
        (0.001, "0.001"),
        (1e-05, "1e-05"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e18, "1000000000000000000"),
        (9223372036854775807, "9223372036854775807"),
        (1e21, "1e+21"),
        (10**30, "1e+30"),
    ],
)
def test_a_scalar_has_one_text(value: Any, text: str) -> None:
    assert canonical(value, "spec.parameters.x") == text


@pytest.mark.parametrize(
    ("value", "found"),
    [([1, 2], "a list"), ({"a": 1}, "an object"), (None, "nothing")],
)
def test_what_is_no_scalar_is_refused_with_its_path(value: Any, found: str) -> None:
    with pytest.raises(SpecError) as error:
        canonical(value, "spec.parameters.layers")
    assert error.value.message == (
        f"spec.parameters.layers: must be a string, a number or a boolean, not {found};"
        " quote it to pass it as text"
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400])
def test_a_number_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(SpecError, match="finite"):
        canonical(value, "spec.parameters.lr")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_reads_back_as_the_same_number(value: float) -> None:
    assert float(canonical(value, "x")) == value


@given(
    st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.text()
)
def test_the_text_is_the_same_after_a_journey_through_json(value: Any) -> None:
    assert canonical(json.loads(json.dumps(value)), "x") == canonical(value, "x")


@given(st.integers(-(2**53), 2**53))
def test_a_whole_number_has_the_same_text_with_and_without_a_point(value: int) -> None:
    assert canonical(float(value), "x") == canonical(value, "x")


@given(untyped)
def test_the_text_of_a_text_is_itself(value: Any) -> None:
    text = canonical(value, "x")
    assert canonical(text, "x") == text


def test_parameters_come_in_the_order_of_their_names() -> None:
    assert list(canonical_parameters({"lr": 0.001, "epochs": 3})) == ["epochs", "lr"]


def test_two_names_for_one_variable_are_refused() -> None:
    with pytest.raises(SpecError) as error:
        canonical_parameters({"batch-size": 1, "batch_size": 2})
    assert error.value.message == (
        'spec.parameters: "batch-size" and "batch_size" would both be the variable MLP_PARAM_BATCH_SIZE;'
        " rename one of them"
    )


@pytest.mark.parametrize("name", ["", "1st", "learning rate", "a" * 64, "größe", "-x", "a\n"])
def test_a_name_that_will_not_do_is_refused(name: str) -> None:
    with pytest.raises(SpecError, match="will not do as the name of a parameter"):
        canonical_parameters({name: 1})


def test_a_value_that_is_too_long_for_the_environment_is_refused() -> None:
    with pytest.raises(SpecError, match="at most 32768 characters, this has 32769"):
        canonical_parameters({"x": "y" * 32769})
