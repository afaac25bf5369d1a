import contextlib
from typing import Any

import keras
import numpy as np
import pytest

from mlpipeline_trainer import fit_hook
from mlpipeline_trainer.errors import NotFiniteError
from mlpipeline_trainer.reporter import Recorder

X, Y = np.ones((8, 3), "float32"), np.ones((8, 1), "float32")


def model(rate: float = 0.01) -> Any:
    made = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
    made.compile(optimizer=keras.optimizers.SGD(rate), loss="mse", metrics=["mae"])
    return made


def fit(recorder: Recorder, made: Any = None, **arguments: Any) -> Any:
    with fit_hook.installed(recorder):
        return (made or model()).fit(X, Y, verbose=0, **arguments)


def test_a_fit_reports_every_epoch_without_an_edit() -> None:
    recorder = Recorder()
    history = fit(recorder, epochs=3, validation_data=(X, Y)).history
    snapshot = recorder.snapshot()
    assert set(snapshot.metrics) == {"loss", "mae", "val_loss", "val_mae"}
    assert [float(e["loss"]) for e in snapshot.history] == pytest.approx(history["loss"])
    assert [e["epoch"] for e in snapshot.history] == [1, 2, 3]
    assert float(snapshot.best_metrics["val_loss"]) == pytest.approx(min(history["val_loss"]))


def test_the_fits_result_and_the_users_callbacks_are_untouched() -> None:
    seen = []
    theirs = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    assert len(fit(Recorder(), epochs=2, callbacks=[theirs]).history["loss"]) == 2
    assert seen == [0, 1]


@pytest.mark.parametrize("form", ["none", "one", "tuple", "list of lists", "CallbackList"])
def test_callbacks_may_come_in_each_form_that_keras_takes(form: str) -> None:
    made, one = model(), keras.callbacks.Callback()
    callbacks = {
        "none": None,
        "one": one,
        "tuple": (one,),
        "list of lists": [[one]],
        "CallbackList": keras.callbacks.CallbackList(
            [one], add_history=True, model=made, epochs=1, verbose=0
        ),
    }[form]
    recorder = Recorder()
    fit(recorder, made, callbacks=callbacks)
    assert recorder.snapshot().epochs == 1


def test_a_callback_list_that_is_used_twice_reports_each_epoch_once() -> None:
    made = model()
    callbacks = keras.callbacks.CallbackList([], add_history=True, model=made, epochs=1, verbose=0)
    recorder = Recorder()
    fit(recorder, made, callbacks=callbacks)
    fit(recorder, made, callbacks=callbacks)
    assert recorder.snapshot().epochs == 2


def test_what_the_users_callback_adds_to_the_logs_is_reported() -> None:
    class Adds(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
            logs["rate"] = 0.5

    recorder = Recorder()
    fit(recorder, callbacks=[Adds()])
    assert recorder.snapshot().metrics["rate"] == "0.5"


def test_a_subclass_with_a_fit_of_its_own_reports_once() -> None:
    class Own(keras.Sequential):  # type: ignore[misc]
        def fit(self, *args: Any, **kwargs: Any) -> Any:
            return super().fit(*args, **kwargs)

    made = Own([keras.layers.Input((3,)), keras.layers.Dense(1)])
    made.compile(loss="mse")
    recorder = Recorder()
    fit(recorder, made, epochs=2)
    assert recorder.snapshot().epochs == 2


def test_a_loss_that_is_not_finite_stops_the_training() -> None:
    recorder = Recorder()
    with pytest.raises(NotFiniteError, match=r"the loss became (nan|inf) in epoch \d of 50"):
        fit(recorder, model(rate=1e30), epochs=50)
    assert recorder.snapshot().epochs < 5


def test_another_metric_that_is_not_finite_stops_nothing() -> None:
    class Bad(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
            logs["val_auc"] = float("nan")

    recorder = Recorder()
    fit(recorder, epochs=2, callbacks=[Bad()])
    assert recorder.snapshot().epochs == 2
    assert "val_auc" not in recorder.snapshot().metrics


def test_a_wrong_argument_is_refused_in_keras_own_words() -> None:
    with fit_hook.installed(Recorder()), pytest.raises(TypeError, match="epoch"):
        model().fit(X, Y, epoch=3)


def test_output_that_no_terminal_shows_is_one_line_per_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    with fit_hook.installed(Recorder()):
        made = model()
        made.fit(X, Y, epochs=2, validation_data=(X, Y))
        made.evaluate(X, Y)
        made.predict(X)
    printed = capsys.readouterr().out
    assert "\r" not in printed
    assert "\b" not in printed
    lines = printed.splitlines()
    assert [line for line in lines if line.startswith("Epoch")] == ["Epoch 1/2", "Epoch 2/2"]
    assert len([line for line in lines if "val_loss" in line]) == 2
    assert len(lines) == 6


def test_an_explicit_choice_of_output_is_kept() -> None:
    assert fit_hook.plain_verbosity("auto", is_terminal=True) == "auto"
    assert [fit_hook.plain_verbosity(v, is_terminal=False) for v in ("auto", 0, 1, 2)] == [2, 0, 1, 2]


def test_keras_is_as_it_was_afterwards() -> None:
    before = {name: getattr(keras.Model, name) for name in ("fit", "evaluate", "predict")}
    with contextlib.suppress(KeyError), fit_hook.installed(Recorder()):
        assert keras.Model.fit is not before["fit"]
        raise KeyError
    assert {name: getattr(keras.Model, name) for name in before} == before
    assert not {"fit", "evaluate", "predict"} & set(vars(keras.Model))
