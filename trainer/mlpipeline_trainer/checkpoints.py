"""`Model.fit` goes on where an earlier attempt of the same run stopped, without an edit of the user's code.

Each fit of a process has a folder below `MLP_CHECKPOINT_DIR`. After an epoch the weights (those of the
optimizer too) go to a file of their own, and then `latest.json`, which names that file, is replaced by
rename: killed at any moment, the attempt leaves the checkpoint before or the new one. Whatever goes wrong
here is a warning, and the training goes on, or begins anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .log import say
from .reporter import Recorder
from .result import write_atomically
from .values import to_number

# Writing may take this share of a fit's time; epochs in between are not kept.
SHARE = 0.1
# A loop of thousands of fits must not fill the volume.
MOST_FITS = 50
_FOLDER = "mlp-fit-"
_LATEST = "latest.json"


@dataclass
class Checkpoints:
    """The checkpoints of one process.

    Attributes:
        folder: `MLP_CHECKPOINT_DIR`.
        fingerprint: Of code and parameters; a checkpoint of another one is not gone on from.
        recorder: Gets the warnings.
    """

    folder: Path
    fingerprint: str
    recorder: Recorder
    _fits: int = field(default=0, init=False)

    def next_fit(self, initial_epoch: int = 0) -> Any | None:
        """The callback for the process's next fit; `None` where there are too many.

        `initial_epoch` is what the user's code passes: a checkpoint that is not beyond it is none to go on
        from.
        """
        self._fits += 1
        if self._fits > MOST_FITS:
            self.recorder.warn(f"only the first {MOST_FITS} fits keep checkpoints")
            return None
        folder = self.folder / f"{_FOLDER}{self._fits}"
        return _callback(Fit(folder, self.fingerprint, self.recorder, initial_epoch))

    def clear(self) -> None:
        """Removes all: the run is over."""
        for folder in self.folder.glob(f"{_FOLDER}*"):
            shutil.rmtree(folder, ignore_errors=True)


def fingerprint(parts: Mapping[str, Any]) -> str:
    """Of what a checkpoint belongs to: JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


class Fit:
    """One fit: writes its checkpoints, and begins at the last one.

    Attributes:
        last_epoch: The epoch after which it goes on; 0 where it begins.
        epochs_done: How many of them an earlier attempt trained.
    """

    def __init__(self, folder: Path, fingerprint: str, recorder: Recorder, initial_epoch: int) -> None:
        self._folder, self._fingerprint = folder, fingerprint
        self._recorder, self._initial_epoch = recorder, initial_epoch
        self.last_epoch = self.epochs_done = 0

    def begin(self, model: Any, params: dict[str, Any]) -> None:
        """Loads the last checkpoint, if there is one that fits."""
        self.model, self.params = model, params
        self.failed = False
        self.epochs: list[int] = []
        self.values: dict[str, list[float]] = {}
        self.filled = False
        self.ran = False
        self.spent, self.begun = 0.0, time.monotonic()
        saved = self._restore()
        if saved:
            self.epochs, self.values = list(saved.get("epochs", ())), dict(saved.get("history", {}))
            self.last_epoch, self.epochs_done = saved["epoch"], len(self.epochs)
            last = self.params.get("epochs") or saved["epoch"]
            self.model._initial_epoch = last if saved.get("done") else saved["epoch"]

    def epoch_begin(self) -> None:
        """An epoch begins."""
        self.ran = True
        self._fill_history()

    def epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Epoch `epoch` (from 0) is done."""
        self.epochs.append(epoch)
        for name, value in logs.items():
            number = to_number(value)
            self.values.setdefault(name, []).append(float("nan") if number is None else number)
        # The last epoch is kept at the end, with what callbacks (EarlyStopping) do to the weights there.
        is_last = self.model.stop_training or epoch + 1 == self.params.get("epochs")
        if not is_last and self.spent <= SHARE * (time.monotonic() - self.begun):
            self._save(epoch + 1, done=False)

    def end(self) -> None:
        """The fit is done."""
        self._fill_history()
        if self.ran and self.epochs:
            self._save(self.epochs[-1] + 1, done=True)

    def _fill_history(self) -> None:
        """What `fit` returns holds the epochs of the earlier attempt, too."""
        if self.filled or not self.epochs_done:
            return
        self.filled = True
        history = getattr(self.model, "history", None)
        if history is None:
            return
        history.epoch = [*self.epochs, *history.epoch]
        for name, values in self.values.items():
            history.history[name] = [*values, *history.history.get(name, [])]

    def _save(self, epoch: int, *, done: bool) -> None:
        if self.failed:
            return
        started = time.monotonic()
        weights = self._folder / f"epoch-{epoch}.weights.h5"
        partial = self._folder / "partial.weights.h5"
        try:
            document = {
                "fingerprint": self._fingerprint,
                "signature": _signature(self.model),
                "weights": weights.name,
                "epoch": epoch,
                "done": done,
                "epochs": self.epochs,
                "history": self.values,
            }
            self._folder.mkdir(parents=True, exist_ok=True)
            self.model.save_weights(partial, overwrite=True)
            _flush(partial)
            partial.replace(weights)
            write_atomically(self._folder / _LATEST, json.dumps(document).encode())
            for old in self._folder.glob("epoch-*.weights.h5"):
                if old != weights:
                    old.unlink()
        except Exception as error:
            self.failed = True
            self._recorder.warn(f"no checkpoint could be kept: {type(error).__name__}: {_brief(error)}")
        self.spent += time.monotonic() - started

    def _restore(self) -> dict[str, Any] | None:
        """Loads the last checkpoint; `None`, and the model as it was, where there is none that fits."""
        try:
            saved: dict[str, Any] = json.loads((self._folder / _LATEST).read_text())
            if saved["fingerprint"] != self._fingerprint:
                self._begin_anew("is of other code or parameters")
                return None
            if saved["epoch"] <= self._initial_epoch:
                return None
            if not self._load(saved):
                return None
        except FileNotFoundError:
            return None
        except Exception as error:
            self._begin_anew(f"cannot be loaded: {type(error).__name__}: {_brief(error)}")
            return None
        say(f"checkpoint: going on after epoch {saved['epoch']}, from {self._folder}")
        return saved

    def _load(self, saved: dict[str, Any]) -> bool:
        import keras

        if not self.model.built:
            self._begin_anew("cannot be loaded before the model is built")
            return False
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is not None and not optimizer.built:
            optimizer.build(self.model.trainable_variables)
        if saved["signature"] != _signature(self.model):
            self._begin_anew("is of a model with other weights")
            return False
        variables = [*self.model.variables, *(optimizer.variables if optimizer is not None else [])]
        before = [keras.ops.convert_to_numpy(each).copy() for each in variables]
        try:
            self.model.load_weights(self._folder / saved["weights"])
        except Exception:
            for variable, value in zip(variables, before, strict=True):
                variable.assign(value)
            raise
        return True

    def _begin_anew(self, why: str) -> None:
        self._recorder.warn(f"the checkpoint in {self._folder} {why}; beginning anew")


def _callback(fit: Fit) -> Any:
    import keras

    class Keep(keras.callbacks.Callback):  # type: ignore[misc]
        """Hands the fit's events on."""

        of_the_trainer = True

        def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
            fit.begin(self.model, self.params)

        def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            fit.epoch_begin()

        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            fit.epoch_end(epoch, logs or {})

        def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
            fit.end()

    Keep.fit = fit
    return Keep()


def _signature(model: Any) -> str:
    """Of the weights' shapes and types, in their order; names differ from process to process."""
    shapes = [[list(each.shape), str(each.dtype)] for each in model.weights]
    return fingerprint({"weights": shapes})


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def _flush(path: Path) -> None:
    """A node that goes down must not leave the name without the content."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
