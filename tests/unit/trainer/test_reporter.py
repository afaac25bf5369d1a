import json
from pathlib import Path

import pytest

from mlpipeline_trainer.reporter import FileReporter, Recorder, Snapshot
from mlpipeline_trainer.result import Result

NAN = float("nan")


def test_latest_and_best_are_kept_apart() -> None:
    recorder = Recorder()
    for loss, accuracy in ((0.5, 0.7), (0.2, 0.9), (0.3, 0.8)):
        recorder.report({"loss": loss, "val_accuracy": accuracy})
    assert recorder.snapshot().metrics == {"loss": "0.3", "val_accuracy": "0.8"}
    assert recorder.snapshot().best_metrics == {"loss": "0.2", "val_accuracy": "0.9"}


def test_the_objectives_goal_decides_what_is_best() -> None:
    recorder = Recorder("margin_loss", "Maximize")
    recorder.report({"margin_loss": 1.0, "val_loss": 1.0})
    recorder.report({"margin_loss": 2.0, "val_loss": 2.0})
    assert recorder.snapshot().best_metrics == {"margin_loss": "2.0", "val_loss": "1.0"}


def test_a_value_that_is_not_finite_is_dropped_and_its_predecessor_is_no_longer_the_latest() -> None:
    recorder = Recorder()
    recorder.epoch_end(1, {"val_auc": 0.8, "loss": 1.0})
    recorder.epoch_end(2, {"val_auc": NAN, "loss": 0.5})
    snapshot = recorder.snapshot()
    assert snapshot.metrics == {"loss": "0.5"}
    assert snapshot.best_metrics == {"val_auc": "0.8", "loss": "0.5"}
    assert snapshot.warnings == ["metric val_auc is nan after epoch 2 and is not recorded"]


def test_what_is_no_number_is_dropped_with_a_warning() -> None:
    recorder = Recorder()
    recorder.report({"matrix": [1.0, 2.0], "f1": 0.5})
    assert recorder.snapshot().metrics == {"f1": "0.5"}
    assert recorder.snapshot().warnings == ["metric matrix is not a number and is not recorded"]


def test_the_history_has_an_entry_for_each_epoch() -> None:
    recorder = Recorder()
    recorder.begin_fit()
    recorder.epoch_end(1, {"loss": 1.0})
    recorder.epoch_end(2, {"loss": 0.5})
    assert recorder.snapshot().history == [{"epoch": 1, "loss": "1.0"}, {"epoch": 2, "loss": "0.5"}]
    assert recorder.snapshot().epochs == 2


def test_another_attempt_takes_over_the_epochs_that_it_goes_on_from(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    first = Recorder(state_file=state)
    first.begin_fit()
    for epoch, accuracy in ((1, 0.9), (2, 0.7), (3, 0.99)):
        first.epoch_end(epoch, {"accuracy": accuracy})

    second = Recorder(state_file=state)
    second.begin_fit()
    second.resume(2)
    second.epoch_end(3, {"accuracy": 0.8})
    snapshot = second.snapshot()
    assert [e["epoch"] for e in snapshot.history] == [1, 2, 3]
    assert snapshot.metrics == {"accuracy": "0.8"}
    # 0.99 belonged to an epoch whose weights are lost.
    assert snapshot.best_metrics == {"accuracy": "0.9"}


def test_another_attempt_that_starts_afresh_takes_over_nothing(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    first = Recorder(state_file=state)
    first.begin_fit()
    first.epoch_end(1, {"accuracy": 0.9})

    second = Recorder(state_file=state)
    second.begin_fit()
    second.epoch_end(1, {"accuracy": 0.5})
    assert second.snapshot().best_metrics == {"accuracy": "0.5"}
    assert second.snapshot().epochs == 1


def test_a_second_fit_that_starts_later_does_not_repeat_epochs_of_the_first(tmp_path: Path) -> None:
    recorder = Recorder(state_file=tmp_path / "state.json")
    recorder.begin_fit()
    recorder.epoch_end(1, {"loss": 1.0})
    recorder.begin_fit()
    recorder.resume(1)
    recorder.epoch_end(2, {"loss": 0.5})
    assert [e["epoch"] for e in recorder.snapshot().history] == [1, 2]


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"fit": 1}]', '[{"fit": 1, "epoch": 1, "metrics": 3}]'])
def test_an_unreadable_state_file_is_ignored(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state.json").write_text(text)
    recorder = Recorder(state_file=tmp_path / "state.json")
    recorder.begin_fit()
    recorder.resume(1)
    assert recorder.snapshot().epochs == 0
    assert "ignoring the unreadable" in capsys.readouterr().err


def test_a_reporter_that_raises_ends_nothing_and_warns_once() -> None:
    class Broken:
        calls = 0

        def progress(self, snapshot: Snapshot) -> None:
            self.calls += 1
            raise OSError("disk full")

        def finish(self, result: Result) -> None:
            raise OSError("disk full")

    recorder, broken = Recorder(), Broken()
    recorder.reporters.append(broken)
    recorder.report({"a": 1})
    recorder.report({"a": 2})
    recorder.finish(Result("Succeeded"))
    assert broken.calls == 2
    assert recorder.snapshot().metrics == {"a": "2"}
    assert recorder.snapshot().warnings == ["reporting failed: OSError: disk full"]


def test_metrics_so_far_lie_beside_the_result_until_the_last_word(tmp_path: Path) -> None:
    path, running = tmp_path / "result.json", tmp_path / "result.json.running"
    path.write_text('{"state": "Succeeded"}')
    recorder = Recorder()
    recorder.reporters.append(
        FileReporter(path, lambda s: Result("Running", metrics=s.metrics), interval=0.0)
    )
    assert json.loads(running.read_text())["state"] == "Running"
    recorder.report({"loss": 0.5})
    assert json.loads(running.read_text())["metrics"] == {"loss": "0.5"}
    assert not path.exists()
    recorder.finish(Result("Failed"))
    assert json.loads(path.read_text())["state"] == "Failed"
    assert not running.exists()


def test_the_file_is_not_written_for_each_of_many_reports(tmp_path: Path) -> None:
    written = []

    def base(snapshot: Snapshot) -> Result:
        written.append(snapshot)
        return Result("Running", metrics=snapshot.metrics)

    reporter = FileReporter(tmp_path / "result.json", base, interval=3600.0)
    for n in range(100):
        reporter.progress(Snapshot(metrics={"n": str(n)}))
    # One to see that the file can be written, one for the first report.
    assert len(written) == 2
