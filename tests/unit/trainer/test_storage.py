import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from mlpipeline_trainer import storage
from mlpipeline_trainer.errors import DataError, ModelError


def fill(folder: Path, **files: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return sorted(p for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("prefix", ["", "file://", "file://localhost"])
def test_a_local_folder_is_used_where_it_is(tmp_path: Path, prefix: str) -> None:
    fill(tmp_path / "in put", a_csv="1")
    uri = f"{prefix}{tmp_path}/in put".replace(" ", "%20" if prefix else " ")
    assert storage.fetch(uri, tmp_path / "data", reuse=False) == tmp_path / "in put"
    assert not (tmp_path / "data").exists()


def test_a_local_file_is_used_by_its_folder(tmp_path: Path) -> None:
    fill(tmp_path / "in", a_csv="1")
    assert storage.fetch(str(tmp_path / "in" / "a.csv"), tmp_path / "data", reuse=False) == tmp_path / "in"


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("/no/such/folder", "/no/such/folder: no such file or directory"),
        ("pvc://claim/data", "used by the path where it is mounted"),
        ("file://data/x", "takes an absolute path"),
    ],
)
def test_data_that_is_not_there_is_named(tmp_path: Path, uri: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        storage.fetch(uri, tmp_path, reuse=False)


def test_the_digest_of_one_file_is_what_sha256sum_prints(tmp_path: Path) -> None:
    files = fill(tmp_path, model_keras="weights")
    printed = subprocess.run(["sha256sum", files[0]], check=True, capture_output=True, text=True).stdout
    assert storage.digest(tmp_path, files) == f"sha256:{printed.split()[0]}"


def test_the_digest_of_several_files_can_be_checked_with_the_documented_command(tmp_path: Path) -> None:
    files = fill(
        tmp_path, saved_pb="graph", variables__data="weights", variables__index="i", Zed="z", a__b="1"
    )
    command = "find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum"
    printed = subprocess.run(
        command, shell=True, check=True, cwd=tmp_path, capture_output=True, text=True
    ).stdout
    assert storage.digest(tmp_path, files) == f"sha256:{printed.split()[0]}"


def test_the_digest_depends_on_contents_and_names_only(tmp_path: Path) -> None:
    one = fill(tmp_path / "one", a="1", b="2")
    two = fill(tmp_path / "two", b="2", a="1")
    renamed = fill(tmp_path / "three", a="1", c="2")
    digest = storage.digest(tmp_path / "one", one)
    assert storage.digest(tmp_path / "two", reversed(two)) == digest
    assert storage.digest(tmp_path / "three", renamed) != digest


def test_only_files_that_this_run_wrote_are_the_model(tmp_path: Path) -> None:
    fill(tmp_path, old_keras="of an earlier run", changed_keras="before")
    before = storage.snapshot(tmp_path)
    fill(tmp_path, new_keras="x", changed_keras="after it")
    assert [p.name for p in storage.model_files(tmp_path, before)] == ["changed.keras", "new.keras"]


def test_a_single_file_is_placed_below_the_uri_and_named(tmp_path: Path) -> None:
    files = fill(tmp_path / "model", model_keras="weights")
    uri = storage.place(tmp_path / "model", files, f"file://{tmp_path}/out/run 1".replace(" ", "%20"))
    assert uri == f"{tmp_path}/out/run 1/model.keras"
    assert Path(uri).read_text() == "weights"
    assert os.listdir(Path(uri).parent) == ["model.keras"]


def test_a_single_file_takes_a_name_of_its_own_if_the_uri_gives_one(tmp_path: Path) -> None:
    files = fill(tmp_path / "model", model_keras="weights")
    assert storage.place(tmp_path / "model", files, f"{tmp_path}/best.keras") == f"{tmp_path}/best.keras"
    assert (tmp_path / "best.keras").read_text() == "weights"


def test_several_files_are_placed_as_a_tree(tmp_path: Path) -> None:
    files = fill(tmp_path / "model", saved_pb="graph", variables__data="weights")
    assert storage.place(tmp_path / "model", files, f"{tmp_path}/out/") == f"{tmp_path}/out"
    assert (tmp_path / "out/variables/data").read_text() == "weights"
    placed = sorted(p for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert storage.digest(tmp_path / "out", placed) == storage.digest(tmp_path / "model", files)


def test_a_model_whose_place_is_where_it_is_stays(tmp_path: Path) -> None:
    files = fill(tmp_path, model_keras="weights")
    before = files[0].stat()
    assert storage.place(tmp_path, files, str(tmp_path)) == str(files[0])
    assert files[0].stat() == before
    assert hashlib.sha256(b"weights").hexdigest() in storage.digest(tmp_path, files)


def test_a_volumes_name_is_only_recorded_since_the_model_lies_there_already(tmp_path: Path) -> None:
    files = fill(tmp_path, model_keras="weights")
    assert storage.place(tmp_path, files, "pvc://artifacts/ns/run/") == "pvc://artifacts/ns/run/model.keras"
    more = fill(tmp_path, assets_txt="x")
    assert storage.place(tmp_path, more, "pvc://artifacts/ns/run") == "pvc://artifacts/ns/run"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    files = fill(tmp_path / "model", model_keras="weights")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelError, match=r"could not be written to .*/file/out: NotADirectoryError"):
        storage.place(tmp_path / "model", files, f"{tmp_path}/file/out")
