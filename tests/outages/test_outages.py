"""Nothing of Airflow that is away for minutes ends a training: the same pod trains on, the run ends well."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from tests.e2e.patient import COMPONENTS
from tests.e2e.support import metrics
from tests.outages.outage import EPOCH_SECONDS, SAMPLE_SECONDS, Report, restarted

pytestmark = pytest.mark.parametrize("component", COMPONENTS)

_Outages = dict[str, Future[Report]]


def test_the_part_was_away_all_the_time(outages: _Outages, component: str) -> None:
    report = outages[component].result()
    # A third of the looks that there is time for: the machine is busy.
    assert len(report.samples) >= report.minutes * 60 / SAMPLE_SECONDS / 3
    assert {sample.component_pods for sample in report.samples} == {0}


def test_the_training_goes_on_in_the_same_pod(outages: _Outages, component: str) -> None:
    report = outages[component].result()
    uid = report.pod["metadata"]["uid"]
    assert {frozenset([uid])} == {sample.step_pods for sample in report.samples}
    assert [pod["metadata"]["uid"] for pod in report.pods_after] == [uid]
    assert restarted(report.pods_after) == 0


def test_the_epochs_go_on_and_none_is_done_twice(outages: _Outages, component: str) -> None:
    report = outages[component].result()
    before = len(report.epochs_before)
    expected = min(report.minutes * 60 / EPOCH_SECONDS / 2, report.wanted_epochs - before)
    assert len(report.epochs_meanwhile) - before >= expected
    assert report.epochs == list(range(1, report.wanted_epochs + 1))


def test_the_run_is_running_meanwhile_and_succeeds_at_the_first_attempt(
    outages: _Outages, component: str
) -> None:
    report = outages[component].result()
    if len(report.epochs_meanwhile) < report.wanted_epochs:
        assert {sample.run for sample in report.samples} == {"Running"}
    status = report.run["status"]
    assert status["state"] == "Succeeded", status
    assert status["attempt"] == 1
    assert [step["state"] for step in status["steps"]] == ["Succeeded"]
    assert "val_loss" in metrics(status)


def test_airflow_and_the_pipeline_tell_that_the_part_is_away(outages: _Outages, component: str) -> None:
    report = outages[component].result()
    # Neither the first look, where the operator may not have had the time to tell, nor only the last.
    for sample in report.samples[3:]:
        (ready,) = (each for each in sample.airflow["conditions"] if each["type"] == "Ready")
        assert ready["status"] == "False"
        assert ready["reason"] == "ComponentsNotReady"
        assert component in ready["message"]
        (ready,) = (each for each in sample.pipeline["conditions"] if each["type"] == "Ready")
        assert ready["status"] == "False"
