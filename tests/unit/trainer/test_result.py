import json
import os
from pathlib import Path

import pytest

from mlpipeline_trainer import result
from mlpipeline_trainer.result import Failure, Model, Result


def failed(message: str, **more: object) -> Result:
    return Result("Failed", failure=Failure("Exception", message, 1, True), **more)  # type: ignore[arg-type]


def test_the_document_has_the_keys_of_the_contract() -> None:
    document = Result(
        "Succeeded",
        metrics={"val_accuracy": "0.99"},
        best_metrics={"val_accuracy": "0.991"},
        history=[{"epoch": 1, "val_accuracy": "0.99"}],
        epochs=1,
        model=Model("gs://b/model.keras", "sha256:00", 12),
        usage=result.measure_usage(0.0),
        run="mnist-1",
        attempt=2,
    ).to_json()
    assert list(document) == [
        "schema", "state", "run", "attempt", "epochs", "metrics", "bestMetrics", "model", "resourceUsage",
        "history",
    ]  # fmt: skip
    assert document["model"] == {"uri": "gs://b/model.keras", "digest": "sha256:00", "bytes": 12}
    assert set(document["resourceUsage"]) == {"wallSeconds", "cpuSeconds", "maxRssBytes"}
    assert document["resourceUsage"]["maxRssBytes"] > 1_000_000


def test_a_failure_carries_reason_message_exit_code_and_whether_to_retry() -> None:
    assert failed("ValueError: x (t.py:1)").to_json()["failure"] == {
        "reason": "Exception", "message": "ValueError: x (t.py:1)", "exitCode": 1, "retryable": True,
    }  # fmt: skip


def test_a_long_history_is_thinned_out_but_keeps_both_ends() -> None:
    entries = [{"epoch": n} for n in range(1, 1001)]
    kept = [e["epoch"] for e in Result("Running", history=entries).to_json()["history"]]
    assert len(kept) == result.HISTORY_LIMIT
    assert (kept[0], kept[-1]) == (1, 1000)
    assert kept == sorted(set(kept))


def test_a_small_result_is_the_termination_message_whole() -> None:
    small = Result("Succeeded", metrics={"a": "1"}, history=[{"epoch": 1, "a": "1"}], epochs=1)
    assert json.loads(result.termination_message(small)) == small.to_json()


def test_the_history_goes_first_when_the_message_is_too_long() -> None:
    big = Result(
        "Succeeded", metrics={"a": "1"}, history=[{"epoch": n, "loss": "0.123456"} for n in range(200)]
    )
    message = result.termination_message(big)
    assert len(message) <= 4096
    assert json.loads(message) == {k: v for k, v in big.to_json().items() if k != "history"}


@pytest.mark.parametrize("text", ["x" * 2000, '"\\' * 1000, "é€" * 400, "\n\t" * 1000])
def test_a_long_failure_fits_and_keeps_its_beginning_and_its_place(text: str) -> None:
    metrics = {f"metric_{n}": "0.123456789" for n in range(90)}
    message = result.termination_message(failed(f"ValueError: {text} (train.py:12)", metrics=metrics))
    assert len(message) <= 4096
    document = json.loads(message)
    assert document["failure"]["message"].startswith("ValueError: ")
    assert document["failure"]["message"].endswith("(train.py:12)")
    assert document["metrics"] == metrics


def test_metrics_that_do_not_fit_are_cut_and_the_message_says_so() -> None:
    metrics = {f"metric_{n}": "0.123456789" for n in range(500)}
    message = result.termination_message(Result("Succeeded", metrics=metrics, best_metrics=metrics))
    assert len(message) <= 4096
    document = json.loads(message)
    assert document["truncated"] is True
    assert document["bestMetrics"] == {}
    assert list(document["metrics"]) == list(metrics)[: len(document["metrics"])]
    assert len(document["metrics"]) > 50


@pytest.mark.parametrize("limit", range(0, 60, 7))
def test_shortened_text_never_exceeds_its_limit(limit: int) -> None:
    assert len(result.shorten("é€x" * 50, limit).encode()) <= limit


def test_the_file_is_replaced_whole_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "sub" / "result.json"
    result.write_result(target, Result("Running"))
    before = os.stat(target).st_ino
    result.write_result(target, failed("ValueError: x"))
    assert json.loads(target.read_text())["state"] == "Failed"
    assert os.stat(target).st_ino != before
    assert os.listdir(target.parent) == ["result.json"]


def test_the_termination_message_is_written_into_the_file_that_is_mounted(tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    log.write_text("x" * 10_000)
    before = os.stat(log).st_ino
    result.write_termination_message(log, Result("Succeeded"))
    assert os.stat(log).st_ino == before
    assert json.loads(log.read_text())["state"] == "Succeeded"


def test_what_the_code_left_for_later_steps_stays_in_the_termination_message(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for left, outputs in (
        ('{"outputs": {"threshold": 0.5}, "metrics": {"a": 1}}', {"threshold": 0.5}),
        ('{"outputs": [1]}', {}),
        ("[]", {}),
        ("not json", {}),
    ):
        log.write_text(left)
        assert result.left_outputs(log) == outputs
    assert result.left_outputs(tmp_path / "nothing") == {}
    assert Result("Succeeded", outputs={"threshold": 0.5}).to_json()["outputs"] == {"threshold": 0.5}


def test_outputs_are_the_last_to_go_where_there_is_no_room() -> None:
    told = Result("Succeeded", metrics={f"metric_{n}": "1" for n in range(400)}, outputs={"file": "rows.csv"})
    assert json.loads(result.termination_message(told))["outputs"] == {"file": "rows.csv"}
    told = Result("Succeeded", metrics={"a": "1"}, outputs={"text": "x" * 5000})
    message = result.termination_message(told)
    assert len(message) <= 4096
    assert json.loads(message)["truncated"] is True
