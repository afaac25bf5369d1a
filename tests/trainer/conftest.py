"""What the tests with TensorFlow share. Without TensorFlow (as in the development environment) none runs."""

import gc
import importlib.util
import json
import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlpipeline_trainer import cli

TRAINER = Path(__file__).resolve().parents[2] / "trainer"
collect_ignore_glob = [] if importlib.util.find_spec("tensorflow") else ["test_*.py"]

STARTED: list[subprocess.Popen[str]] = []

MODEL = """
import keras, numpy as np
x, y = np.ones((8, 3), "float32"), np.ones((8, 1), "float32")
def make(rate=0.01):
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(rate), loss="mse")
    return model
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("trainer")


@pytest.fixture(autouse=True)
def _nothing_stays_behind() -> Iterator[None]:
    yield
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            process.kill()
            process.communicate()


def start(cwd: Path, *args: str, **environ: str) -> subprocess.Popen[str]:
    clean = {n: v for n, v in os.environ.items() if not n.startswith("MLP_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "mlpipeline_trainer", *args],
        cwd=cwd,
        env={**clean, "PYTHONPATH": str(TRAINER), "MLP_TERMINATION_LOG": "log", **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    STARTED.append(process)
    return process


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text())
    return document


class Folder:
    """A working directory in which trainings run, in this process, as from the command line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, source: str) -> None:
        (self.path / name).write_text(source)

    def run(self, *args: str) -> int:
        """Runs the command line in this process and returns the exit status."""
        return cli.main(args)

    def result(self, name: str = "result.json") -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.path / name).read_text())
        return document


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    monkeypatch.chdir(tmp_path)
    environ, path, argv, modules = dict(os.environ), list(sys.path), list(sys.argv), set(sys.modules)
    for name in [n for n in os.environ if n.startswith("MLP_")]:
        del os.environ[name]
    os.environ["MLP_TERMINATION_LOG"] = "log"
    yield Folder(tmp_path)
    # TensorFlow's objects are freed here, where nothing runs, not in the midst of the next training.
    gc.collect()
    os.environ.clear()
    os.environ.update(environ)
    sys.path[:], sys.argv[:] = path, argv
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def digits(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a small set in MNIST's format: 28 by 28 pixels, a bright bar whose place is the label."""

    def make(train: int = 256, test: int = 64) -> Path:
        folder, chance = tmp_path_factory.mktemp("digits"), random.Random(1)
        for part, count in (("train", train), ("t10k", test)):
            labels = bytes(chance.randrange(10) for _ in range(count))
            images = b"".join(_image(label, chance) for label in labels)
            (folder / f"{part}-images-idx3-ubyte").write_bytes(
                struct.pack(">4B3I", 0, 0, 8, 3, count, 28, 28) + images
            )
            (folder / f"{part}-labels-idx1-ubyte").write_bytes(
                struct.pack(">4BI", 0, 0, 8, 1, count) + labels
            )
        return folder

    return make


def _image(label: int, chance: random.Random) -> bytes:
    bar = range(2 * label + 3, 2 * label + 6)
    return bytes(255 if row in bar else chance.randrange(40) for row in range(28) for _ in range(28))
