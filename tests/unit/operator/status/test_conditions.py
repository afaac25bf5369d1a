"""Conditions and their transition times."""

from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpipeline_operator.status.conditions import Condition, is_true, merge_conditions, timestamp
from tests.unit.operator.status.objects import LATER, NOW

READY = Condition("Ready", "True", "InPlace", "all is well")


def test_a_new_condition_begins_now() -> None:
    assert merge_conditions([], [READY], generation=4, now=NOW) == [
        {
            "type": "Ready",
            "status": "True",
            "reason": "InPlace",
            "message": "all is well",
            "observedGeneration": 4,
            "lastTransitionTime": "2026-11-22T12:00:00Z",
        }
    ]


def test_the_transition_time_moves_with_the_status_and_not_with_reason_or_message() -> None:
    before = merge_conditions([], [READY], generation=1, now=NOW)
    other_words = Condition("Ready", "True", "StillInPlace", "as before")
    (same,) = merge_conditions(before, [other_words], generation=2, now=LATER)
    assert same["lastTransitionTime"] == timestamp(NOW)
    assert (same["reason"], same["message"], same["observedGeneration"]) == ("StillInPlace", "as before", 2)
    (turned,) = merge_conditions(before, [Condition("Ready", "False", "Gone")], generation=2, now=LATER)
    assert turned["lastTransitionTime"] == timestamp(LATER)


@pytest.mark.parametrize("kind", ["Reconciling", "Stalled"])
@pytest.mark.parametrize("status", ["False", "Unknown"])
def test_what_kstatus_reads_as_abnormal_is_absent_unless_it_is_true(kind: str, status: str) -> None:
    before = merge_conditions([], [Condition(kind, "True", "Busy")], generation=1, now=NOW)
    assert merge_conditions(before, [Condition(kind, status, "Done")], generation=1, now=LATER) == []


def test_a_condition_that_is_no_longer_given_goes() -> None:
    before = merge_conditions([], [READY, Condition("Stalled", "True", "Bad")], generation=1, now=NOW)
    after = merge_conditions(before, [READY], generation=1, now=LATER)
    assert [each["type"] for each in after] == ["Ready"]


def test_an_abnormal_condition_that_comes_back_begins_anew() -> None:
    busy = Condition("Reconciling", "True", "Busy")
    between = merge_conditions(
        merge_conditions([], [busy], generation=1, now=NOW), [READY], generation=1, now=NOW
    )
    (again,) = merge_conditions(between, [busy], generation=1, now=LATER)
    assert again["lastTransitionTime"] == timestamp(LATER)


def test_the_order_of_conditions_does_not_depend_on_the_order_in_which_they_are_found() -> None:
    some = [READY, Condition("LastRunSucceeded", "True", "Succeeded"), Condition("Stalled", "True", "Bad")]
    assert merge_conditions([], some, generation=1, now=NOW) == merge_conditions(
        [], some[::-1], generation=1, now=NOW
    )


def test_a_long_message_is_cut() -> None:
    (cut,) = merge_conditions([], [Condition("Ready", "False", "Long", "x" * 99999)], generation=1, now=NOW)
    assert len(cut["message"]) == 1024


def test_times_are_written_in_utc_to_the_second() -> None:
    moment = NOW.astimezone(timezone(timedelta(hours=9))) + timedelta(microseconds=7)
    assert timestamp(moment) == "2026-11-22T12:00:00Z"


conditions = st.lists(
    st.builds(
        Condition,
        st.sampled_from(["Ready", "Reconciling", "Stalled", "LastRunSucceeded"]),
        st.sampled_from(["True", "False", "Unknown"]),
        st.sampled_from(["This", "That"]),
    ),
    unique_by=lambda each: each.type,
)


@given(conditions, conditions)
def test_merging_the_same_again_changes_nothing(earlier: list[Condition], later: list[Condition]) -> None:
    first = merge_conditions([], earlier, generation=1, now=NOW)
    second = merge_conditions(first, later, generation=1, now=NOW + timedelta(hours=1))
    third = merge_conditions(second, later, generation=1, now=NOW + timedelta(hours=2))
    assert third == second


def test_whether_a_condition_is_true_is_read_from_any_status() -> None:
    status = {"conditions": merge_conditions([], [READY], generation=1, now=NOW)}
    assert is_true(status, "Ready")
    assert not is_true(status, "Stalled")
    assert not is_true({}, "Ready")
    assert not is_true(None, "Ready")
