"""The images of the repository's Dockerfile: what they are made of and how they are called.

An image is tagged by a hash of what it is made of. So a reference says exactly what is in it, it is
built and loaded only where it is not there yet, and a manifest pinned to it changes when the code does.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from . import dockerfile
from .errors import ClusterError
from .paths import REPOSITORY

TARGETS = ("operator", "postgres", "airflow", "trainer")
DATASETS = "build/datasets"
"""Where the build finds data sets; git ignores it."""
_IGNORED_FOLDERS = {"__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache"}
_IGNORED_SUFFIXES = {".pyc", ".pyo"}


def chosen(names: Iterable[str]) -> list[str]:
    """Return the targets with these names in the order of their build, all where none is named.

    Raises:
        ClusterError: if there is no such target.
    """
    wanted = list(names) or list(TARGETS)
    unknown = [name for name in wanted if name not in TARGETS]
    if unknown:
        raise ClusterError(f"no such image: {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    return [target for target in TARGETS if target in wanted]


def references(targets: Iterable[str], repository: Path = REPOSITORY) -> dict[str, str]:
    """Return the exact reference of each target, ``mlpipeline/TARGET:HASH``."""
    return {target: f"mlpipeline/{target}:{content_hash(target, repository)}" for target in targets}


def newest(target: str) -> str:
    """Return the reference that always names the newest build."""
    return f"mlpipeline/{target}:dev"


def copied_stages(target: str, repository: Path = REPOSITORY) -> list[str]:
    """Return the stages of the Dockerfile that the target copies files from, in the order of their build."""
    return dockerfile.copied_stages(_stages(target, repository), target)


def needs_datasets(target: str, repository: Path = REPOSITORY) -> bool:
    """Tell whether a data set is among what the target is made of."""
    return any(
        source.startswith("build/") for stage in _made_of(target, repository) for source in stage.sources
    )


def content_hash(target: str, repository: Path = REPOSITORY) -> str:
    """Return twelve hex digits over the Dockerfile's lines and the files that make the target.

    Raises:
        ClusterError: if the Dockerfile, its target or a file that it copies is missing.
    """
    digest = hashlib.sha256()
    made_of = _made_of(target, repository)
    for stage in made_of:
        digest.update("\n".join([*stage.instructions, "\0"]).encode())
    # The data sets are fixed by their own checksums, and lie there only once a build needed them.
    sources = sorted({s for stage in made_of for s in stage.sources if not s.startswith("build/")})
    for path in _files(repository, sources):
        content = path.read_bytes()
        executable = bool(path.stat().st_mode & stat.S_IXUSR)
        digest.update(f"\0{path.relative_to(repository)}\0{executable:d}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:12]


def _made_of(target: str, repository: Path) -> list[dockerfile.Stage]:
    return dockerfile.closure(_stages(target, repository), target)


def _stages(target: str, repository: Path) -> dict[str, dockerfile.Stage]:
    path = repository / "Dockerfile"
    try:
        stages = dockerfile.stages(path.read_text())
    except FileNotFoundError as error:
        raise ClusterError(f"there is no {path}") from error
    if target not in stages:
        raise ClusterError(f"the Dockerfile has no target {target!r}")
    return stages


def _files(repository: Path, sources: Iterable[str]) -> Iterator[Path]:
    for source in sources:
        paths = sorted(repository.glob(source))
        if not paths:
            raise ClusterError(f"the Dockerfile copies {source}, which is not in {repository}")
        for path in paths:
            if path.is_dir():
                yield from _walk(path)
            else:
                yield path


def _walk(folder: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if each not in _IGNORED_FOLDERS)
        for name in sorted(names):
            if Path(name).suffix not in _IGNORED_SUFFIXES:
                yield Path(here, name)
