import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from mlpipeline_trainer import checkpoints, fit_hook
from mlpipeline_trainer.checkpoints import Checkpoints
from mlpipeline_trainer.reporter import Recorder

from .conftest import finish, read, start

X, Y = np.random.default_rng(1).random((32, 3), "float32"), np.ones((32, 1), "float32")


@pytest.fixture(autouse=True)
def _every_epoch_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "SHARE", 1e9)


def model(units: int = 1) -> Any:
    keras.utils.set_random_seed(1)
    made = keras.Sequential(
        [
            keras.layers.Input((3,)),
            keras.layers.Dense(units),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(1),
        ]
    )
    made.compile(optimizer="adam", loss="mse")
    return made


class Dies(keras.callbacks.Callback):  # type: ignore[misc]
    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if epoch == self.epoch:
            raise OSError("the node went away")


def fit(folder: Path, made: Any, recorder: Recorder | None = None, kind: str = "a", **arguments: Any) -> Any:
    recorder = recorder or Recorder()
    with fit_hook.installed(recorder, Checkpoints(folder, kind, recorder)):
        return made.fit(X, Y, verbose=0, shuffle=False, **arguments)


def dies(folder: Path, made: Any, epoch: int, **arguments: Any) -> None:
    with pytest.raises(OSError, match="the node went away"):
        fit(folder, made, callbacks=[Dies(epoch)], **arguments)


def weights(made: Any) -> list[Any]:
    return [np.array(each) for each in (*made.get_weights(), *(v.numpy() for v in made.optimizer.variables))]


def same(ours: list[Any], theirs: list[Any]) -> bool:
    return all(np.allclose(a, b, atol=1e-6) for a, b in zip(ours, theirs, strict=True))


def test_an_attempt_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    whole = model()
    expected = whole.fit(X, Y, epochs=5, verbose=0, shuffle=False)
    dies(tmp_path, model(), 3, epochs=5)
    recorder, again = Recorder(), model()
    history = fit(tmp_path, again, recorder, epochs=5)
    assert same(weights(again), weights(whole))
    assert history.epoch == expected.epoch == [0, 1, 2, 3, 4]
    assert history.history["loss"] == pytest.approx(expected.history["loss"])
    assert recorder.snapshot().resumed_from == 3
    assert recorder.snapshot().warnings == []


def test_a_fit_that_ended_is_not_repeated_and_another_one_begins_at_its_own_start(tmp_path: Path) -> None:
    first = model()
    fit(tmp_path, first, epochs=3)
    recorder, again = Recorder(), model()
    seen: list[int] = []
    theirs = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(epoch))
    with fit_hook.installed(recorder, Checkpoints(tmp_path, "a", recorder)):
        history = again.fit(X, Y, epochs=3, verbose=0, callbacks=[theirs])
        assert (seen, len(history.history["loss"])) == ([], 3)
        assert same(weights(again), weights(first))
        again.fit(X, Y, epochs=2, verbose=0, callbacks=[theirs])
    assert seen == [0, 1]
    assert recorder.snapshot().resumed_from == 3


def test_a_training_that_was_stopped_early_is_not_taken_up_again(tmp_path: Path) -> None:
    stop = keras.callbacks.EarlyStopping("loss", patience=1, min_delta=1e9, restore_best_weights=True)
    first = model()
    fit(tmp_path, first, epochs=20, callbacks=[stop])
    recorder, again = Recorder(), model()
    history = fit(tmp_path, again, recorder, epochs=20)
    assert len(history.epoch) == 2
    assert recorder.snapshot().resumed_from == 2
    assert same(again.get_weights(), first.get_weights())


def test_a_second_phase_that_begins_at_its_own_epoch_goes_on_too(tmp_path: Path) -> None:
    dies(tmp_path, model(), 7, epochs=9, initial_epoch=5)
    recorder = Recorder()
    assert fit(tmp_path, model(), recorder, epochs=9, initial_epoch=5).epoch == [5, 6, 7, 8]
    assert recorder.snapshot().resumed_from == 2


@pytest.mark.parametrize("what", ["code", "model", "torn", "no file"])
def test_a_checkpoint_that_does_not_fit_is_a_warning_and_the_training_begins_anew(
    tmp_path: Path, what: str
) -> None:
    dies(tmp_path, model(), 2, epochs=3)
    (kept,) = (tmp_path / "mlp-fit-1").glob("*.h5")
    if what == "torn":
        os.truncate(kept, kept.stat().st_size // 2)
    if what == "no file":
        (tmp_path / "mlp-fit-1" / "latest.json").write_text("{")
    recorder, made = Recorder(), model(2 if what == "model" else 1)
    history = fit(tmp_path, made, recorder, "b" if what == "code" else "a", epochs=3)
    fresh = model(2 if what == "model" else 1)
    fresh.fit(X, Y, epochs=3, verbose=0, shuffle=False)
    assert history.epoch == [0, 1, 2]
    assert same(weights(made), weights(fresh))
    (warning,) = recorder.snapshot().warnings
    assert warning.startswith("the checkpoint in ")
    assert warning.endswith("; beginning anew")
    assert recorder.snapshot().resumed_from == 0


def test_a_model_that_cannot_be_kept_trains_with_a_warning(tmp_path: Path) -> None:
    class Bad(keras.layers.Dense):  # type: ignore[misc]
        def save_own_variables(self, store: Any) -> None:
            raise RuntimeError("not me")

    made = keras.Sequential([keras.layers.Input((3,)), Bad(1)])
    made.compile(loss="mse")
    recorder = Recorder()
    assert len(fit(tmp_path, made, recorder, epochs=3).epoch) == 3
    (warning,) = recorder.snapshot().warnings
    assert warning.startswith("no checkpoint could be kept: RuntimeError: not me")


def test_a_training_step_of_ones_own_goes_on_too(tmp_path: Path) -> None:
    class Own(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(1)
            self.steps = self.add_weight(shape=(), initializer="zeros", trainable=False, name="steps")

        def call(self, x: Any) -> Any:
            return self.dense(x)

        def train_step(self, data: Any) -> Any:
            self.steps.assign_add(1.0)
            return super().train_step(data)

    def make() -> Any:
        made = Own()
        made.compile(optimizer="adam", loss="mse")
        return made

    dies(tmp_path, make(), 2, epochs=4, batch_size=8)
    made = make()
    assert len(fit(tmp_path, made, epochs=4, batch_size=8).epoch) == 4
    assert float(made.steps.numpy()) == 16


def test_who_keeps_checkpoints_of_their_own_gets_no_others(tmp_path: Path) -> None:
    theirs = keras.callbacks.BackupAndRestore(tmp_path / "theirs")
    fit(tmp_path / "ours", model(), epochs=2, callbacks=[theirs])
    assert not (tmp_path / "ours").exists()


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(tmp_path: Path) -> None:
    dies(tmp_path, model(), 2, epochs=4)
    folder = tmp_path / "mlp-fit-1"
    # As far as a process may come: the weights half written, or there without their name in latest.json.
    (folder / "partial.weights.h5").write_bytes(b"half")
    shutil.copy(folder / "epoch-2.weights.h5", folder / "epoch-3.weights.h5")
    recorder = Recorder()
    fit(tmp_path, model(), recorder, epochs=4)
    assert recorder.snapshot().resumed_from == 2
    assert sorted(each.name for each in folder.iterdir()) == ["epoch-4.weights.h5", "latest.json"]


SCRIPT = """
import argparse, os, sys, time, keras, numpy as np
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
epochs = parser.parse_args().epochs
model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
model.compile(loss="mse")
slow = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: time.sleep(0.5))
history = model.fit(np.ones((8, 3)), np.ones((8, 1)), epochs=epochs, callbacks=[slow])
assert len(history.history["loss"]) == epochs
model.save(os.environ["MLP_MODEL_DIR"] + "/model.keras")
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_was_ended_is_gone_on_from_by_the_next_attempt(
    tmp_path: Path, how: signal.Signals
) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    parameters = {"MLP_PARAMETERS": '{"epochs": "8"}', "MLP_ENTRYPOINT": "train.py"}
    first = start(tmp_path, "run", **parameters)
    latest = tmp_path / "checkpoints" / "mlp-fit-1" / "latest.json"
    until = time.monotonic() + 120
    # Where the disk is slow, not each epoch is kept; the first one is.
    while not (latest.exists() and json.loads(latest.read_text())["epoch"] >= 1):
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)
    first.send_signal(how)
    assert finish(first)[0] == (-9 if how == signal.SIGKILL else 143)
    done = json.loads(latest.read_text())["epoch"]

    code, out, err = finish(start(tmp_path, "run", MLP_ATTEMPT="2", **parameters))
    assert code == 0, err
    assert f"Epoch {done + 1}/8" in out
    assert f"Epoch {done}/8" not in out
    result = read(tmp_path / "result.json")
    assert (result["epochs"], result["resumedFromEpoch"]) == (8, done)
    assert [each["epoch"] for each in result["history"]] == list(range(1, 9))
    assert read(tmp_path / "log")["resumedFromEpoch"] == done
    assert not list((tmp_path / "checkpoints").iterdir())


def test_checkpoints_can_be_switched_off(tmp_path: Path) -> None:
    check = "assert not [n for n in os.listdir(os.environ['MLP_CHECKPOINT_DIR']) if n.startswith('mlp-fit')]"
    (tmp_path / "train.py").write_text(SCRIPT + check)
    off = {"MLP_CHECKPOINTS": "off", "MLP_PARAMETERS": '{"epochs": "2"}', "MLP_ENTRYPOINT": "train.py"}
    code, _, err = finish(start(tmp_path, "run", **off))
    assert code == 0, err
