"""A bundle's files on disk: which ConfigMap holds each, and how a folder is brought in line with them.

Knows files and an injected reader, neither Airflow nor the network.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

log = logging.getLogger(__name__)

MANIFEST_KEY = "manifest.json"

# Returns a ConfigMap's data, None if there is no such ConfigMap; raises on any other failure.
ReadConfigMap = Callable[[str], Mapping[str, str] | None]


class ManifestError(Exception):
    """A bundle version that cannot be read."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a file's text lies. ConfigMaps of DAGs are immutable, so an equal source means an equal text."""

    config_map: str
    key: str


def read_manifest(version: str, read: ReadConfigMap) -> dict[str, Source]:
    """Return the files of a bundle version: path below the bundle's root -> source.

    Args:
        version: Name of the version, which is the name of its ConfigMap.
        read: Reader of ConfigMaps.

    Raises:
        ManifestError: The ConfigMap is gone or does not hold a manifest.
    """
    data = read(version)
    if data is None:
        raise ManifestError(f"DAG bundle version {version} does not exist any more (no such ConfigMap)")
    try:
        files = json.loads(data[MANIFEST_KEY])["files"]
        return {_checked(path): Source(entry["configMap"], entry["key"]) for path, entry in files.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ManifestError(f"ConfigMap {version} holds no valid {MANIFEST_KEY}: {error!r}") from error


def _checked(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or str(pure) != path or path == ".":
        raise ValueError(f"{path!r} is no plain path below the bundle's root")
    return path


def synchronise(
    root: Path, wanted: Mapping[str, Source], known: Mapping[str, Source], read: ReadConfigMap
) -> dict[str, Source]:
    """Bring ``root`` in line with ``wanted``, touching only what differs from ``known``.

    A changed file is replaced by rename, so a reader sees the old text or the new one. Files that keep their
    source keep their modification time, by which Airflow decides what to parse again. A source that does not
    exist is skipped and logged: one lost pipeline must not keep the others from being delivered.

    Args:
        root: Folder to change; made if it is missing.
        wanted: Path -> source, as it should be.
        known: Path -> source, as the last call left it.
        read: Reader of ConfigMaps; each is read once.

    Returns:
        Path -> source, as it is now (without the skipped).
    """
    root.mkdir(parents=True, exist_ok=True)
    present: dict[str, Source] = {}
    cache: dict[str, Mapping[str, str] | None] = {}
    for path, source in wanted.items():
        if known.get(path) == source and (root / path).is_file():
            present[path] = source
            continue
        if source.config_map not in cache:
            cache[source.config_map] = read(source.config_map)
        data = cache[source.config_map]
        if data is None or source.key not in data:
            log.warning("Skipping %s: ConfigMap %s has no %s", path, source.config_map, source.key)
            continue
        _replace(root / path, data[source.key])
        present[path] = source
    _remove_others(root, present)
    return present


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Hidden from Airflow's search for DAG files by its name, and on the same file system as its target.
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=".", delete=False
    ) as file:
        file.write(text)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def _remove_others(root: Path, keep: Mapping[str, Source]) -> None:
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(root).as_posix() not in keep:
            path.unlink()


def check_out(
    target: Path, version: str, read: ReadConfigMap, only: Callable[[str], bool] = lambda _: True
) -> None:
    """Put a version's files into ``target``, whole or not at all; nothing to do if it is there already.

    Args:
        target: Folder of this version.
        version: Name of the version.
        read: Reader of ConfigMaps.
        only: Which paths are needed.

    Raises:
        ManifestError: The version is gone or invalid.
    """
    if target.is_dir():
        return
    wanted = {path: source for path, source in read_manifest(version, read).items() if only(path)}
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{version}-", dir=target.parent))
    try:
        synchronise(draft, wanted, {}, read)
        draft.chmod(0o755)
        draft.rename(target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


class State:
    """What ``current/`` holds, kept beside it so that a restarted process need not fetch everything again.

    Args:
        file: Where it is kept.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def load(self) -> tuple[str | None, dict[str, Source]]:
        """Return the version and its files; (None, {}) if there is none or it cannot be read."""
        try:
            state = json.loads(self._file.read_text())
            return state["version"], {path: Source(*source) for path, source in state["files"].items()}
        except (OSError, ValueError, KeyError, TypeError):
            return None, {}

    def save(self, version: str | None, files: Mapping[str, Source]) -> None:
        """Remember ``version`` and its ``files``."""
        state = {
            "version": version,
            "files": {path: [source.config_map, source.key] for path, source in files.items()},
        }
        self._file.parent.mkdir(parents=True, exist_ok=True)
        draft = self._file.with_suffix(".tmp")
        draft.write_text(json.dumps(state))
        draft.replace(self._file)
