"""What a training function gets: its parameters, its folders, and a way to report metrics."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import settings as settings_module
from .params import Parameters, T
from .reporter import Recorder


@dataclass(frozen=True)
class Context:
    """Passed to a `module:function` that takes an argument; `current()` gives it to any other code.

    Attributes:
        params: Name to canonical string, with `get_as(name, type, default)`.
        data_dir: Folder that holds the data.
        data_uri: Where the data came from; `None` if nothing was said.
        model_dir: Folder to save the model in, unless the function returns it.
        checkpoint_dir: Folder that another attempt of the same run finds again.
        run_name: Name of the run; `None` outside of one.
        step: Name of the step.
        attempt: From 1.
    """

    params: Parameters
    data_dir: Path
    data_uri: str | None
    model_dir: Path
    checkpoint_dir: Path
    run_name: str | None
    step: str | None
    attempt: int
    recorder: Recorder

    def param(self, name: str, default: T) -> T:
        """The parameter as the type of `default`, or `default` if it was not given.

        Raises:
            ParameterError: It was given and is not of that type; ends the run with exit code 2.
        """
        return self.params.get_as(name, type(default), default)

    def report(self, metrics: Mapping[str, Any] | None = None, **more: Any) -> None:
        """Records metrics: name to number. `Model.fit` reports by itself; this is for all else."""
        self.recorder.report({**(metrics or {}), **more})


_current: Context | None = None


def make(settings: settings_module.Settings, recorder: Recorder, data_dir: Path) -> Context:
    """The context of a run."""
    return Context(
        params=settings.parameters,
        data_dir=data_dir,
        data_uri=settings.data_uri,
        model_dir=settings.model_dir,
        checkpoint_dir=settings.checkpoint_dir,
        run_name=settings.run_name,
        step=settings.step,
        attempt=settings.attempt,
        recorder=recorder,
    )


def activate(context: Context | None) -> None:
    """Makes `current()` give this one."""
    global _current
    _current = context


def current() -> Context:
    """The context of the run in progress; under a plain `python train.py` one made of the environment.

    Raises:
        UsageError: Without a run in progress, if the environment holds a wrong value.
    """
    global _current
    if _current is None:
        settings = settings_module.from_env(os.environ)
        _current = make(settings, Recorder(settings.objective, settings.goal), settings.data_dir)
    return _current


def report(metrics: Mapping[str, Any] | None = None, **more: Any) -> None:
    """`current().report(...)`."""
    current().report(metrics, **more)
