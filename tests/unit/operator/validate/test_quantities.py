from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpipeline_operator.api.containers import Resources
from mlpipeline_operator.errors import SpecError
from mlpipeline_operator.validate import quantities


@pytest.mark.parametrize(
    ("quantity", "number"),
    [
        (2, "2"),
        ("2", "2"),
        ("500m", "0.5"),
        ("0.5", "0.5"),
        (".5", "0.5"),
        ("1.", "1"),
        ("4Gi", "4294967296"),
        ("1k", "1000"),
        ("1e3", "1000"),
        ("1E3", "1000"),
        ("1E", "1000000000000000000"),
        ("1Ei", "1152921504606846976"),
        ("-1", "-1"),
        ("250n", "0.00000025"),
    ],
)
def test_a_quantity_stands_for_a_number(quantity: str | int, number: str) -> None:
    assert quantities.parse(quantity, "x") == Decimal(number)


@pytest.mark.parametrize(
    "quantity", ["", "4GB", "4 Gi", "4gi", "many", "NaN", "1e", "1ki", "1e9999", "4Gi\n"]
)
def test_what_is_no_quantity_is_refused_with_its_path(quantity: str) -> None:
    with pytest.raises(SpecError) as error:
        quantities.parse(quantity, "spec.training.resources.limits.memory")
    assert error.value.message == (
        f'spec.training.resources.limits.memory: "{quantity}" is not a quantity;'
        " write for example 500m, 2, 512Mi or 4Gi"
    )


@given(st.text(alphabet="0123456789.eEKMGTPinumk+-", max_size=12))
def test_no_text_makes_the_parser_fail_otherwise(text: str) -> None:
    try:
        quantities.parse(text, "x")
    except SpecError:
        return


def test_quantities_become_strings() -> None:
    resources = Resources(requests={"cpu": 1}, limits={"memory": "4Gi", "cpu": 2})
    assert quantities.resource_requirements(resources, "x") == {
        "requests": {"cpu": "1"},
        "limits": {"cpu": "2", "memory": "4Gi"},
    }


def test_a_request_over_its_limit_is_refused_whatever_the_units() -> None:
    resources = Resources(requests={"memory": "2049Mi"}, limits={"memory": "2Gi"})
    with pytest.raises(SpecError, match="the request for memory is greater than its limit"):
        quantities.resource_requirements(resources, "spec.training.resources")


def test_a_negative_amount_is_refused() -> None:
    with pytest.raises(SpecError, match=r'limits\.cpu: "-1" must not be negative'):
        quantities.resource_requirements(Resources(limits={"cpu": -1}), "spec.training.resources")
