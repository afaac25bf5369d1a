"""Where things are: the environment variables of the contract, read once into one frozen value."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from . import params
from .errors import UsageError

TERMINATION_LOG = Path("/dev/termination-log")
DATASETS_DIR = Path("/opt/datasets")
GOALS = ("Maximize", "Minimize")

# Variable -> what it is; `--help` prints it.
VARIABLES: dict[str, str] = {
    "MLP_PARAMETERS": "JSON object of parameter name to value",
    "MLP_PARAM_<NAME>": "one parameter; upper case, other characters than letters and digits as _",
    "MLP_ENTRYPOINT": "module:function, or the path of a .py script",
    "MLP_SOURCE_DIR": "folder of the code; it is copied, and MLP_ENTRYPOINT is looked for in the copy",
    "MLP_GIT_URL": "repository of the code, fetched at the start, instead of MLP_SOURCE_DIR",
    "MLP_GIT_REF": "branch, tag or commit of it (default: the repository's own branch)",
    "MLP_GIT_PATH": "folder within it",
    "MLP_GIT_CREDENTIALS": "folder with username and password, or ssh-privatekey (and known_hosts)",
    "MLP_REQUIREMENTS": "JSON list of what pip installs for this training alone",
    "MLP_DATASET": "a built-in data set: mnist; without an entrypoint also the preset of that name",
    "MLP_DATA_URI": "where the data is: path, file://, gs://, s3://, http(s)://",
    "MLP_DATA_DIR": "folder in which the code finds the data (default ./data; a local MLP_DATA_URI itself)",
    "MLP_MODEL_DIR": "folder in which the model is saved (default ./model)",
    "MLP_MODEL_URI": (
        "where the model finally goes: path, file://, gs://, s3:// (default MLP_MODEL_DIR);"
        " pvc:// names the volume that MLP_MODEL_DIR lies on"
    ),
    "MLP_CHECKPOINT_DIR": "folder for what another attempt goes on from (default ./checkpoints)",
    "MLP_CHECKPOINTS": "off: Model.fit keeps no checkpoints and goes on from none (default on)",
    "MLP_RESULT_FILE": "the result, JSON (default ./result.json); while running: the same name + .running",
    "MLP_TERMINATION_LOG": "the result within 4096 bytes (default /dev/termination-log; empty: none)",
    "MLP_OBJECTIVE": "name of the metric that counts",
    "MLP_OBJECTIVE_GOAL": "Maximize or Minimize; which value of MLP_OBJECTIVE is best",
    "MLP_EXPECT_GPU": "1: fail at once if TensorFlow sees no GPU",
    "MLP_DATASETS_DIR": "where built-in data sets lie in the image (default /opt/datasets)",
    "MLP_RUN_NAME": "name of the run, goes into the result",
    "MLP_STEP": "name of the step, goes into the result",
    "MLP_ATTEMPT": "1 for the first attempt",
}

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"", "0", "false", "no", "off"}


@dataclass(frozen=True)
class Git:
    """Code in a repository: its address, what to check out, the folder within, folder of credentials."""

    url: str
    ref: str | None
    path: str | None
    credentials: Path | None


@dataclass(frozen=True)
class Settings:
    """The contract's input, with every default filled in and every path absolute.

    Attributes:
        parameters: Name to canonical string.
        entrypoint: `module:function` or a script's path, as given.
        source: Where the code is: a folder, or a repository; `None` for the working directory.
        requirements: For pip.
        dataset: Name of a built-in data set.
        data_uri: As given.
        data_dir: See `VARIABLES`; the same for the folders and files that follow.
        model_uri: `None` stands for `model_dir`.
        checkpoints: Whether `Model.fit` keeps some.
        termination_log: `None` if there is none.
        objective: The metric that counts, with `goal` one of `GOALS`.
        attempt: From 1.
    """

    parameters: params.Parameters
    entrypoint: str | None
    source: Path | Git | None
    requirements: tuple[str, ...]
    dataset: str | None
    data_uri: str | None
    data_dir: Path
    model_dir: Path
    model_uri: str | None
    checkpoint_dir: Path
    checkpoints: bool
    result_file: Path
    termination_log: Path | None
    datasets_dir: Path
    objective: str | None
    goal: str | None
    expect_gpu: bool
    run_name: str | None
    step: str | None
    attempt: int


def from_env(environ: Mapping[str, str], cwd: Path | None = None) -> Settings:
    """Reads the contract's variables; an empty variable counts as unset (but for `MLP_TERMINATION_LOG`).

    Raises:
        UsageError: A variable has a value that it cannot have; the message names it.
    """
    here = cwd or Path.cwd()

    def text(name: str) -> str | None:
        return environ.get(name, "").strip() or None

    def path(name: str, default: str) -> Path:
        return here / Path(text(name) or default).expanduser()

    goal = text("MLP_OBJECTIVE_GOAL")
    if goal is not None and goal not in GOALS:
        raise UsageError(f"MLP_OBJECTIVE_GOAL={goal!r} must be one of {', '.join(GOALS)}")
    return Settings(
        parameters=params.from_env(environ),
        entrypoint=text("MLP_ENTRYPOINT"),
        source=_source(text, path),
        requirements=_requirements(text("MLP_REQUIREMENTS")),
        dataset=text("MLP_DATASET"),
        data_uri=text("MLP_DATA_URI"),
        data_dir=path("MLP_DATA_DIR", "data"),
        model_dir=path("MLP_MODEL_DIR", "model"),
        model_uri=text("MLP_MODEL_URI"),
        checkpoint_dir=path("MLP_CHECKPOINT_DIR", "checkpoints"),
        checkpoints=_flag({"MLP_CHECKPOINTS": "on", **environ}, "MLP_CHECKPOINTS"),
        result_file=path("MLP_RESULT_FILE", "result.json"),
        termination_log=_termination_log(environ, here),
        datasets_dir=path("MLP_DATASETS_DIR", str(DATASETS_DIR)),
        objective=text("MLP_OBJECTIVE"),
        goal=goal,
        expect_gpu=_flag(environ, "MLP_EXPECT_GPU"),
        run_name=text("MLP_RUN_NAME"),
        step=text("MLP_STEP"),
        attempt=_attempt(environ),
    )


def _source(text: Callable[[str], str | None], path: Callable[[str, str], Path]) -> Path | Git | None:
    url = text("MLP_GIT_URL")
    if url and text("MLP_SOURCE_DIR"):
        raise UsageError("MLP_SOURCE_DIR and MLP_GIT_URL both say where the code is; give one")
    if url:
        credentials = path("MLP_GIT_CREDENTIALS", "") if text("MLP_GIT_CREDENTIALS") else None
        return Git(url, text("MLP_GIT_REF"), text("MLP_GIT_PATH"), credentials)
    return path("MLP_SOURCE_DIR", "") if text("MLP_SOURCE_DIR") else None


def _requirements(value: str | None) -> tuple[str, ...]:
    try:
        found = json.loads(value or "[]")
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(each, str) and each.strip() for each in found):
        raise UsageError(f"MLP_REQUIREMENTS={value!r} must be a JSON list of requirements")
    for each in found:
        if each.strip().startswith("-"):
            raise UsageError(
                f"MLP_REQUIREMENTS: {each!r} is an option of pip's: set its PIP_ variable instead"
            )
    return tuple(each.strip() for each in found)


def _flag(environ: Mapping[str, str], name: str) -> bool:
    value = environ.get(name, "").strip().lower()
    if value not in _TRUE | _FALSE:
        raise UsageError(f"{name}={value!r} must be 1 or 0")
    return value in _TRUE


def _attempt(environ: Mapping[str, str]) -> int:
    text = environ.get("MLP_ATTEMPT", "").strip() or "1"
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise UsageError(f"MLP_ATTEMPT={text!r} must be a whole number from 1")
    return int(text)


def _termination_log(environ: Mapping[str, str], here: Path) -> Path | None:
    text = environ.get("MLP_TERMINATION_LOG")
    if text is not None:
        return here / text.strip() if text.strip() else None
    return TERMINATION_LOG if os.access(TERMINATION_LOG, os.W_OK) else None
