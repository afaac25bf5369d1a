"""`Model.fit` reports without an edit: a callback joins every fit, and its output suits a log file."""

from __future__ import annotations

import functools
import inspect
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .checkpoints import Checkpoints
from .errors import NotFiniteError
from .reporter import Recorder
from .values import to_number


def _callback(recorder: Recorder, keep: Any | None = None) -> Any:
    """The callback that reports; `keep` is the one that keeps the same fit's checkpoints."""
    import keras

    class Report(keras.callbacks.Callback):  # type: ignore[misc]
        """Hands each epoch's logs to the recorder; ends a training whose loss is not finite."""

        of_the_trainer = True

        def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
            self.first = True
            recorder.begin_fit()

        def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            self.epoch = epoch + 1
            self.resume(epoch)

        def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
            self.check(logs)

        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            self.check(logs)
            recorder.epoch_end(epoch + 1, logs or {})

        def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
            self.resume(0)  # A checkpoint of the last epoch leaves none to run.

        def resume(self, epoch: int) -> None:
            done, trained = _resumed(self.model, keep)
            if self.first and (done or epoch):
                recorder.resume(done or epoch, trained)
            self.first = False

        def check(self, logs: dict[str, Any] | None) -> None:
            loss = to_number((logs or {}).get("loss", 0.0))
            if loss is not None and not math.isfinite(loss):
                of = f" of {self.params['epochs']}" if self.params.get("epochs") else ""
                raise NotFiniteError(f"the loss became {loss} in epoch {self.epoch}{of}")

    return Report()


def _resumed(model: Any, keep: Any | None) -> tuple[int, int]:
    """The epoch after which a fit goes on, and how many of those before an earlier attempt trained.

    By a checkpoint of ours, or of the user's `BackupAndRestore`; `initial_epoch` alone resumes nothing.
    """
    if keep:
        return keep.fit.last_epoch, keep.fit.epochs_done
    backup = getattr(model, "_initial_epoch", None) or 0
    return backup, backup


def plain_verbosity(verbose: Any, is_terminal: bool) -> Any:
    """`"auto"` as one line per epoch where no terminal shows a progress bar; an explicit choice as it is."""
    return 2 if verbose == "auto" and not is_terminal else verbose


@contextmanager
def installed(recorder: Recorder, checkpoints: Checkpoints | None = None) -> Iterator[None]:
    """While open, every `keras.Model.fit` in this process reports to `recorder`.

    With `checkpoints` it also goes on from where an earlier attempt stopped, unless the user's code sees to
    that itself, by `BackupAndRestore`. With `verbose="auto"` they print no progress bar if standard output
    is no terminal.
    """
    import keras

    own = {name: vars(keras.Model).get(name) for name in ("fit", "evaluate", "predict")}
    keras.Model.fit = _wrapped(keras.Model.fit, functools.partial(_add_callbacks, recorder, checkpoints))
    keras.Model.evaluate = _wrapped(keras.Model.evaluate, None)
    keras.Model.predict = _wrapped(keras.Model.predict, None)
    try:
        yield
    finally:
        for name, method in own.items():
            if method is None:
                delattr(keras.Model, name)
            else:
                setattr(keras.Model, name, method)


def _wrapped(
    method: Callable[..., Any], change: Callable[[dict[str, Any]], None] | None
) -> Callable[..., Any]:
    signature = inspect.signature(method)

    @functools.wraps(method)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            return method(*args, **kwargs)  # Let Keras say what is wrong.
        bound.arguments["verbose"] = plain_verbosity(
            bound.arguments.get("verbose", "auto"), sys.stdout.isatty()
        )
        if change is None:
            return method(*bound.args, **bound.kwargs)
        change(bound.arguments)
        model = bound.arguments["self"]
        first_epoch = getattr(model, "_initial_epoch", None)
        try:
            return method(*bound.args, **bound.kwargs)
        finally:
            # Keras would begin the model's next fit there, too.
            model._initial_epoch = first_epoch

    return wrapper


def _add_callbacks(recorder: Recorder, checkpoints: Checkpoints | None, arguments: dict[str, Any]) -> None:
    import keras

    callbacks: Any = arguments.get("callbacks")
    listed = isinstance(callbacks, keras.callbacks.CallbackList)
    given = callbacks.callbacks if listed else keras.tree.flatten(callbacks or [])
    keep = None
    if checkpoints is not None:
        # Counted in any case, so that a fit has the same number in each attempt.
        keep = checkpoints.next_fit(arguments.get("initial_epoch") or 0)
        if any(isinstance(each, keras.callbacks.BackupAndRestore) for each in given):
            keep = None
    # Last, so that what the user's callbacks put into the logs is seen; a loss that is no number is found
    # before its weights are kept.
    ours = [_callback(recorder, keep), *([keep] if keep else [])]
    if listed:
        for each in ours:
            each.set_model(arguments["self"])
            each.set_params(callbacks.params)
        # Another fit with the same list brings callbacks of its own.
        callbacks.callbacks = [c for c in given if not getattr(c, "of_the_trainer", False)]
        callbacks.callbacks.extend(ours)
        return
    arguments["callbacks"] = [*given, *ours]
