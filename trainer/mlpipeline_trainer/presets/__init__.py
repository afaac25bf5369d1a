"""Trainings that come with the trainer. Importing this needs no TensorFlow."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlpipeline_trainer.context import Context
from mlpipeline_trainer.errors import UsageError
from mlpipeline_trainer.params import Spec

from . import mnist


@dataclass(frozen=True)
class Preset:
    """A training that is ready to run.

    Attributes:
        name: Also the name of its data set.
        summary: One line for `presets`.
        specs: The parameters that it knows.
        locate: Finds its data set's files: `(data_dir, datasets_dir) -> folder`, or `None`.
        train: Trains with the context and every parameter's value; returns what an entrypoint may return.
    """

    name: str
    summary: str
    specs: tuple[Spec, ...]
    locate: Callable[[Path, Path], Path | None]
    train: Callable[[Context, dict[str, Any]], Any]


PRESETS: dict[str, Preset] = {
    "mnist": Preset("mnist", mnist.SUMMARY, mnist.SPECS, mnist.locate, mnist.train),
}


def get(name: str, what: str = "preset") -> Preset:
    """The preset of that name.

    Raises:
        UsageError: There is none; lists those that there are.
    """
    if name not in PRESETS:
        close = difflib.get_close_matches(name.lower(), list(PRESETS), n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UsageError(f"unknown {what} {name!r}{hint} (known: {', '.join(PRESETS)})")
    return PRESETS[name]
