"""Data in, model out: local paths by the standard library, everything else by fsspec."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from .errors import DataError, ModelError, TrainerError
from .log import say
from .result import write_atomically

PROGRESS_INTERVAL = 5.0
_MARKER = ".mlp-data"


def local_path(uri: str) -> Path | None:
    """The path of a plain path or `file://` URI, absolute; `None` for a remote one.

    Raises:
        ValueError: `pvc://` (a volume is mounted by whoever starts the pod), or a `file://` with a host.
    """
    if "://" not in uri:
        return Path.cwd() / Path(uri).expanduser()
    parts = urlsplit(uri)
    if parts.scheme == "pvc":
        raise ValueError(
            f"{uri}: a persistent volume is used by the path where it is mounted, not by a pvc:// URI"
        )
    if parts.scheme != "file":
        return None
    if parts.netloc not in ("", "localhost"):
        raise ValueError(f"{uri}: file:// takes an absolute path, as in file:///data")
    return Path(unquote(parts.path))


def fetch(uri: str, data_dir: Path, reuse: bool) -> Path:
    """Makes the data at `uri` available in a folder and returns that folder.

    A local folder is used as it is, a local file by its folder. Remote files are downloaded into `data_dir`,
    a file under its own name, a prefix as a tree; `.zip`, `.tar`, `.tar.gz` and `.tgz` archives are unpacked.

    Args:
        uri: Path, `file://`, `gs://`, `s3://`, `http(s)://`, or anything else that fsspec knows.
        data_dir: Where downloads go; created if need be.
        reuse: Whether a complete download of the same URI that is there already will do (a retry).

    Raises:
        DataError: Nothing there, not allowed, not reachable; names the URI and the cause.
    """
    try:
        local = local_path(uri)
    except ValueError as error:
        raise DataError(str(error)) from None
    if local is not None:
        if not local.exists():
            raise DataError(f"{uri}: no such file or directory")
        return local if local.is_dir() else local.parent
    marker = data_dir / _MARKER
    if reuse and marker.is_file() and marker.read_text() == uri:
        say(f"data: {uri} is in {data_dir} already")
        return data_dir
    marker.unlink(missing_ok=True)
    try:
        _download(uri, data_dir)
    except TrainerError:
        raise
    except Exception as error:  # Each backend raises its own; the cause is in the words.
        raise DataError(f"{uri}: {_cause(error)}") from error
    write_atomically(marker, uri.encode())
    return data_dir


def _download(uri: str, data_dir: Path) -> None:
    filesystem, remote = _open(uri)
    data_dir.mkdir(parents=True, exist_ok=True)
    name = unquote(urlsplit(uri).path.rstrip("/").rpartition("/")[2])
    say(f"data: downloading {uri}")
    started = time.monotonic()
    # For the web, isfile() would take every error for "no"; a URL is a file unless it ends in a slash.
    web = uri.startswith(("http://", "https://"))
    if not uri.endswith("/") and (web or filesystem.isfile(remote)):
        target = data_dir / (name or "data")
        filesystem.get_file(remote, str(target), callback=_progress(uri))
        _unpack(target, data_dir)
    else:
        files = filesystem.find(remote)
        if not files:
            raise DataError(f"{uri}: nothing there")
        filesystem.get(remote.rstrip("/") + "/", str(data_dir) + "/", recursive=True, callback=_progress(uri))
    size = sum(p.stat().st_size for p in data_dir.rglob("*") if p.is_file())
    say(f"data: {size / 1e6:.1f} MB in {time.monotonic() - started:.1f} s, in {data_dir}")


def _unpack(archive: Path, folder: Path) -> None:
    broken = (shutil.ReadError, tarfile.TarError, zipfile.BadZipFile, OSError, ValueError, EOFError)
    try:
        if archive.suffix == ".zip":
            shutil.unpack_archive(archive, folder)  # Leaves out what leads out of the folder.
        elif archive.name.endswith((".tar", ".tar.gz", ".tgz")):
            _unpack_tar(archive, folder)
        else:
            return
    except broken as error:
        raise DataError(f"{archive.name}: cannot be unpacked: {error}") from error
    archive.unlink()


def _unpack_tar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as opened:
        if hasattr(tarfile, "data_filter"):
            opened.extractall(folder, filter="data")
            return
        # Python before 3.11.4 (Debian 12's) has no filter, so only what can do no harm is taken.
        root = folder.resolve()
        for member in opened:
            within = root in (root / member.name).resolve().parents
            if not (within and member.isreg()) and not member.isdir():
                raise ValueError(f"{member.name!r} is a link, a device, or outside the destination")
            if within:
                opened.extract(member, folder)


def model_files(folder: Path, before: dict[Path, tuple[int, int]]) -> list[Path]:
    """The files of `folder` that are new or changed since `before = snapshot(folder)`, sorted by path."""
    return sorted(p for p, state in snapshot(folder).items() if before.get(p) != state)


def snapshot(folder: Path) -> dict[Path, tuple[int, int]]:
    """Each file below `folder` with its modification time (ns) and size (bytes)."""
    return {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*") if p.is_file()}


def digest(folder: Path, files: Iterable[Path]) -> str:
    """`sha256:…` over a model's files.

    One file: SHA-256 of its content, as `sha256sum FILE` prints it. Several: SHA-256 of the list of
    `<sha256>  <path below the folder>` lines in byte order of the paths, which is what
    `find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum` prints in that folder.
    """
    listed = sorted((p.relative_to(folder).as_posix().encode(), p) for p in files)
    sums = []
    for name, path in listed:
        with path.open("rb") as opened:
            sums.append((hashlib.file_digest(opened, "sha256").hexdigest(), name))
    if len(sums) == 1:
        return f"sha256:{sums[0][0]}"
    return (
        "sha256:"
        + hashlib.sha256(b"".join(s.encode() + b"  " + name + b"\n" for s, name in sums)).hexdigest()
    )


def place(folder: Path, files: list[Path], uri: str) -> str:
    """Copies a model's files from `folder` to `uri`, checks their sizes, and returns where the model is.

    Args:
        folder: The local model folder.
        files: Its files; at least one.
        uri: The folder or prefix to fill; with a single file, `uri` may also name a file of the same suffix.
            `pvc://claim/path` says which volume's folder `folder` is: nothing is copied, the name is all.

    Returns:
        The URI of the file if there is one, of the folder if there are several.

    Raises:
        ModelError: Not allowed, not reachable, or arrived incomplete.
    """
    base = uri.rstrip("/")
    if len(files) == 1 and files[0].suffix and base.endswith(files[0].suffix):
        targets, result = {files[0]: base}, base
    else:
        targets = {p: f"{base}/{p.relative_to(folder).as_posix()}" for p in files}
        result = targets[files[0]] if len(files) == 1 else base
    if base.startswith("pvc://"):
        return result
    try:
        local = local_path(base)
        if local is None:
            _upload(targets)
            return result
        for source, target in targets.items():
            _copy(source, local_path(target) or local)
        return str(local_path(result))
    except TrainerError:
        raise
    except Exception as error:
        raise ModelError(f"the model could not be written to {uri}: {_cause(error)}") from error


def _copy(source: Path, target: Path) -> None:
    if target.exists() and target.samefile(source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        shutil.copyfile(source, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _upload(targets: dict[Path, str]) -> None:
    for source, target in targets.items():
        filesystem, remote = _open(target)
        size = source.stat().st_size
        say(f"model: uploading {target} ({size / 1e6:.1f} MB)")
        filesystem.put_file(str(source), remote, callback=_progress(target))
        filesystem.invalidate_cache()
        there = filesystem.info(remote)["size"]
        if there != size:
            raise ModelError(f"{target} arrived incomplete: {there} of {size} bytes")


def _open(uri: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError as error:
        raise ImportError("needs fsspec, which is not installed (see requirements/trainer.txt)") from error
    return fsspec.core.url_to_fs(uri)  # type: ignore[no-any-return]


def _progress(what: str) -> Any:
    from fsspec.callbacks import Callback

    class Progress(Callback):  # type: ignore[misc]
        """A line every few seconds, for what takes long."""

        last = time.monotonic()

        def call(self, hook_name: str | None = None, **kwargs: Any) -> None:
            if time.monotonic() - self.last >= PROGRESS_INTERVAL:
                self.last = time.monotonic()
                say(f"{what}: {self.value} of {self.size or '?'}")

    return Progress()


def _cause(error: BaseException) -> str:
    text = " ".join(str(error).split()) or repr(error)
    return text if isinstance(error, ImportError) else f"{type(error).__name__}: {text}"
