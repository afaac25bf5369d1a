"""Who hears of progress: the recorder keeps the metrics, and tells its reporters.

`Reporter` is the seam for others than the file: whatever it does, a training step must not wait for it.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from .log import say
from .result import Result, write_atomically, write_result
from .values import canonical_number, to_number

# A metric with one of these words in its name is better when lower, unless MLP_OBJECTIVE_GOAL says otherwise.
LOWER_IS_BETTER = (
    "loss",
    "error",
    "mae",
    "mse",
    "rmse",
    "mape",
    "msle",
    "perplexity",
    "divergence",
    "entropy",
)


@dataclass(frozen=True)
class Snapshot:
    """The state of the metrics at one moment; the fields are those of `result.Result`."""

    metrics: dict[str, str] = field(default_factory=dict)
    best_metrics: dict[str, str] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    epochs: int = 0
    resumed_from: int = 0
    warnings: list[str] = field(default_factory=list)


class Reporter(Protocol):
    """Is told of news. Must neither block nor raise."""

    def progress(self, snapshot: Snapshot) -> None:
        """Metrics changed."""

    def finish(self, result: Result) -> None:
        """The last word; called once."""


class FileReporter:
    """Writes the result file once, at the end; until then `<name>.running` holds the metrics so far.

    So a result is final wherever there is one, and a process killed without a last word leaves its metrics
    behind. `.running` is written at most once per `interval` seconds, and goes with the last word.
    """

    def __init__(self, path: Path, base: Callable[[Snapshot], Result], interval: float = 1.0) -> None:
        """Removes an earlier run's result.

        Args:
            path: The result file.
            base: Makes a `Running` result of a snapshot.
            interval: Seconds between two writes.

        Raises:
            OSError: The file cannot be written.
        """
        self._path, self._base, self._interval = path, base, interval
        self._running = path.with_name(f"{path.name}.running")
        self._written = -math.inf
        path.unlink(missing_ok=True)
        write_result(self._running, base(Snapshot()))

    def progress(self, snapshot: Snapshot) -> None:
        """Writes a `Running` result, unless one was written a moment ago."""
        if time.monotonic() - self._written >= self._interval:
            write_result(self._running, self._base(snapshot))
            self._written = time.monotonic()

    def finish(self, result: Result) -> None:
        """Writes the final result."""
        write_result(self._path, result)
        self._running.unlink(missing_ok=True)


class Recorder:
    """Keeps latest and best metrics and the history of epochs. Safe to call from any thread.

    With `state_file`, the epochs are kept there too: an attempt that goes on from epoch n finds the first n.
    """

    def __init__(
        self, objective: str | None = None, goal: str | None = None, state_file: Path | None = None
    ) -> None:
        """`goal` (`Maximize`, `Minimize`) says which value of the metric `objective` is best."""
        self.reporters: list[Reporter] = []
        self._objective, self._goal = objective, goal
        self._state_file = state_file
        self._earlier: list[dict[str, Any]] = _load(state_file)
        self._lock = threading.RLock()
        self._latest: dict[str, int | float] = {}
        self._best: dict[str, int | float] = {}
        self._epochs: list[dict[str, Any]] = []
        self._warnings: list[str] = []
        self._fit = 0
        self._resumed = 0

    def report(self, metrics: Mapping[str, Any]) -> None:
        """Takes metrics that belong to no epoch. What is no finite number is dropped with a warning."""
        with self._lock:
            self._take(metrics, "")
        self._tell()

    def begin_fit(self) -> None:
        """A `Model.fit` begins; epochs count from 1 again."""
        with self._lock:
            self._fit += 1

    def resume(self, epochs_done: int, trained: int | None = None) -> None:
        """The present `fit` goes on after epoch `epochs_done`: takes over what was recorded up to it.

        `trained` of these epochs are an earlier attempt's work; all, unless said.
        """
        with self._lock:
            self._resumed += epochs_done if trained is None else trained
            have = {(e["fit"], e["epoch"]) for e in self._epochs}
            for entry in self._earlier:
                where = (entry["fit"], entry["epoch"])
                if entry["fit"] == self._fit and entry["epoch"] <= epochs_done and where not in have:
                    self._take(entry["metrics"], f" after epoch {entry['epoch']}")
                    self._epochs.append(entry)

    def epoch_end(self, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Epoch `epoch` (from 1) of the present `fit` is done."""
        with self._lock:
            taken = self._take(metrics, f" after epoch {epoch}")
            self._epochs.append({"fit": self._fit, "epoch": epoch, "metrics": taken})
            if self._state_file:
                try:
                    write_atomically(self._state_file, json.dumps(self._epochs).encode())
                except OSError as error:
                    self.warn(f"the epochs' metrics could not be kept for another attempt: {error}")
        self._tell()

    def warn(self, message: str) -> None:
        """Keeps a warning for the result, and prints it; the same one only once."""
        with self._lock:
            if message in self._warnings:
                return
            self._warnings.append(message)
        say(f"warning: {message}")

    def snapshot(self) -> Snapshot:
        """A copy of what is known now."""
        with self._lock:
            return Snapshot(
                metrics={n: canonical_number(v) for n, v in self._latest.items()},
                best_metrics={n: canonical_number(v) for n, v in self._best.items()},
                history=[{"epoch": e["epoch"]} | _texts(e["metrics"]) for e in self._epochs],
                epochs=len(self._epochs),
                resumed_from=self._resumed,
                warnings=list(self._warnings),
            )

    def finish(self, result: Result) -> None:
        """Hands the last word to every reporter."""
        for reporter in self.reporters:
            self._guard(reporter.finish, result)

    def forget(self) -> None:
        """Removes the state file: the run is over."""
        if self._state_file:
            self._state_file.unlink(missing_ok=True)

    def _tell(self) -> None:
        snapshot = self.snapshot()
        for reporter in self.reporters:
            self._guard(reporter.progress, snapshot)

    def _guard(self, call: Callable[[Any], None], argument: Any) -> None:
        # A reporter that fails (a full disk, say) must not end a training.
        try:
            call(argument)
        except Exception as error:
            self.warn(f"reporting failed: {type(error).__name__}: {error}")

    def _take(self, metrics: Mapping[str, Any], when: str) -> dict[str, int | float]:
        taken: dict[str, int | float] = {}
        for name, value in metrics.items():
            number = to_number(value)
            if number is not None and math.isfinite(number):
                taken[str(name)] = number
                continue
            # The value before is no longer true, and must not pass for the latest.
            self._latest.pop(str(name), None)
            shown = "not a number" if number is None else str(number)
            self.warn(f"metric {name} is {shown}{when} and is not recorded")
        self._latest.update(taken)
        for name, value in taken.items():
            if name not in self._best or self._better(name, value, self._best[name]):
                self._best[name] = value
        return taken

    def _better(self, name: str, value: float, than: float) -> bool:
        return value < than if self._minimise(name) else value > than

    def _minimise(self, name: str) -> bool:
        if name == self._objective and self._goal:
            return self._goal == "Minimize"
        return any(word in name.lower() for word in LOWER_IS_BETTER)


def _texts(metrics: Mapping[str, int | float]) -> dict[str, str]:
    return {name: canonical_number(value) for name, value in metrics.items()}


def _load(path: Path | None) -> list[dict[str, Any]]:
    try:
        loaded = json.loads(path.read_text()) if path else []
        return [
            e
            for e in loaded
            if isinstance(e["fit"], int) and isinstance(e["epoch"], int) and dict(e["metrics"])
        ]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError) as error:
        say(f"warning: ignoring the unreadable {path}: {error}")
        return []
