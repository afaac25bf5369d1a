import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpipeline_trainer.values import canonical_number, to_number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.98339998722076416, "0.9834"),
        (0.1, "0.1"),
        (1.0, "1.0"),
        (1000.0, "1000.0"),
        (0.0, "0.0"),
        (-2.5e-8, "-2.5e-08"),
        (7, "7"),
        (1e300, "1e+300"),
        (1 / 3, "0.3333333333333333"),
    ],
)
def test_a_number_has_its_shortest_text(value: float, text: str) -> None:
    assert canonical_number(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_doubles_text_gives_it_back(value: float) -> None:
    text = canonical_number(value)
    assert float(text) == value or struct.pack("f", float(text)) == struct.pack("f", value)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float32s_text_gives_it_back(value: float) -> None:
    assert struct.pack("f", float(canonical_number(value))) == struct.pack("f", value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_has_no_text(value: float) -> None:
    with pytest.raises(ValueError, match="is not finite"):
        canonical_number(value)


@pytest.mark.parametrize("value", ["1.5", b"1", None, [1.0, 2.0], {"a": 1}])
def test_what_is_no_number_is_none(value: object) -> None:
    assert to_number(value) is None


def test_booleans_count_as_one_and_zero() -> None:
    assert (to_number(True), to_number(False)) == (1.0, 0.0)
