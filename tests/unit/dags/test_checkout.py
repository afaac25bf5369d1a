from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from mlpipeline_dags.checkout import (
    ManifestError,
    Source,
    State,
    check_out,
    read_manifest,
    synchronise,
)


class ConfigMaps:
    """A reader that knows what it was asked for."""

    def __init__(self, **data: Mapping[str, str]) -> None:
        self.data = {name.replace("_", "-"): value for name, value in data.items()}
        self.reads: list[str] = []

    def __call__(self, name: str) -> Mapping[str, str] | None:
        self.reads.append(name)
        return self.data.get(name)


def manifest(**files: str) -> dict[str, str]:
    entries = {f"{name}/dag.py": {"configMap": source, "key": "dag.py"} for name, source in files.items()}
    return {"manifest.json": json.dumps({"files": entries})}


def dag(source: str) -> Source:
    return Source(source, "dag.py")


def texts(root: Path) -> dict[str, str]:
    return {p.relative_to(root).as_posix(): p.read_text() for p in root.rglob("*") if p.is_file()}


def test_a_manifest_tells_where_each_file_lies() -> None:
    read = ConfigMaps(v1=manifest(a="a-1", b="b-1"))
    assert read_manifest("v1", read) == {"a/dag.py": dag("a-1"), "b/dag.py": dag("b-1")}


def test_a_version_that_is_gone_is_an_error_that_names_it() -> None:
    with pytest.raises(ManifestError, match="v9 does not exist any more"):
        read_manifest("v9", ConfigMaps())


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"files": {"a.py": "x"}}', '{"files": {"a.py": {}}}'])
def test_a_config_map_without_a_manifest_is_an_error(text: str) -> None:
    with pytest.raises(ManifestError, match="holds no valid manifest"):
        read_manifest("v1", ConfigMaps(v1={"manifest.json": text}))


@pytest.mark.parametrize("path", ["/etc/passwd", "../x.py", "a/../../x.py", "a//b.py", ".", ""])
def test_a_path_that_leads_out_of_the_bundle_is_refused(path: str) -> None:
    text = json.dumps({"files": {path: {"configMap": "a", "key": "k"}}})
    with pytest.raises(ManifestError, match="no plain path"):
        read_manifest("v1", ConfigMaps(v1={"manifest.json": text}))


def test_files_come_from_their_config_maps(tmp_path: Path) -> None:
    read = ConfigMaps(a_1={"dag.py": "A"}, b_1={"dag.py": "B"})
    wanted = {"a/dag.py": dag("a-1"), "b/dag.py": dag("b-1")}
    assert synchronise(tmp_path / "current", wanted, {}, read) == wanted
    assert texts(tmp_path / "current") == {"a/dag.py": "A", "b/dag.py": "B"}


def test_only_what_changed_is_read_and_written(tmp_path: Path) -> None:
    read = ConfigMaps(a_1={"dag.py": "A"}, b_1={"dag.py": "B"}, b_2={"dag.py": "B2"})
    known = synchronise(tmp_path, {"a/dag.py": dag("a-1"), "b/dag.py": dag("b-1")}, {}, read)
    before = (tmp_path / "a/dag.py").stat()
    read.reads.clear()
    synchronise(tmp_path, {"a/dag.py": dag("a-1"), "b/dag.py": dag("b-2")}, known, read)
    after = (tmp_path / "a/dag.py").stat()
    assert read.reads == ["b-2"]
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert texts(tmp_path) == {"a/dag.py": "A", "b/dag.py": "B2"}


def test_a_changed_file_is_another_file_so_that_who_reads_the_old_reads_it_to_its_end(tmp_path: Path) -> None:
    read = ConfigMaps(a_1={"dag.py": "old"}, a_2={"dag.py": "new"})
    known = synchronise(tmp_path, {"a/dag.py": dag("a-1")}, {}, read)
    with (tmp_path / "a/dag.py").open() as reader:
        synchronise(tmp_path, {"a/dag.py": dag("a-2")}, known, read)
        assert reader.read() == "old"
    assert texts(tmp_path) == {"a/dag.py": "new"}


def test_what_is_not_wanted_any_more_is_removed_with_its_folder(tmp_path: Path) -> None:
    read = ConfigMaps(a_1={"dag.py": "A"}, b_1={"dag.py": "B"})
    known = synchronise(tmp_path, {"a/dag.py": dag("a-1"), "b/dag.py": dag("b-1")}, {}, read)
    synchronise(tmp_path, {"a/dag.py": dag("a-1")}, known, read)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_missing_config_map_keeps_no_other_file_from_being_delivered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read = ConfigMaps(b_1={"dag.py": "B"}, c_1={"other.py": "C"})
    wanted = {"a/dag.py": dag("a-1"), "b/dag.py": dag("b-1"), "c/dag.py": dag("c-1")}
    assert synchronise(tmp_path, wanted, {}, read) == {"b/dag.py": dag("b-1")}
    assert texts(tmp_path) == {"b/dag.py": "B"}
    assert "Skipping a/dag.py: ConfigMap a-1 has no dag.py" in caplog.text
    assert "Skipping c/dag.py" in caplog.text


def test_a_file_that_somebody_removed_comes_back(tmp_path: Path) -> None:
    read = ConfigMaps(a_1={"dag.py": "A"})
    known = synchronise(tmp_path, {"a/dag.py": dag("a-1")}, {}, read)
    (tmp_path / "a/dag.py").unlink()
    synchronise(tmp_path, {"a/dag.py": dag("a-1")}, known, read)
    assert texts(tmp_path) == {"a/dag.py": "A"}


def test_a_config_map_with_several_files_is_read_once(tmp_path: Path) -> None:
    read = ConfigMaps(a_1={"dag.py": "A", "lib.py": "L"})
    wanted = {"a/dag.py": Source("a-1", "dag.py"), "a/lib.py": Source("a-1", "lib.py")}
    synchronise(tmp_path, wanted, {}, read)
    assert read.reads == ["a-1"]


def test_a_version_is_checked_out_once(tmp_path: Path) -> None:
    read = ConfigMaps(v1=manifest(a="a-1"), a_1={"dag.py": "A"})
    check_out(tmp_path / "versions/v1", "v1", read)
    check_out(tmp_path / "versions/v1", "v1", read)
    assert read.reads == ["v1", "a-1"]
    assert texts(tmp_path / "versions/v1") == {"a/dag.py": "A"}


def test_of_a_version_only_the_needed_files_are_fetched(tmp_path: Path) -> None:
    read = ConfigMaps(v1=manifest(a="a-1", b="b-1"), a_1={"dag.py": "A"}, b_1={"dag.py": "B"})
    check_out(tmp_path / "v1", "v1", read, only=lambda path: path.startswith("b/"))
    assert read.reads == ["v1", "b-1"]


def test_a_check_out_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def read(name: str) -> Mapping[str, str] | None:
        if name == "v1":
            return manifest(a="a-1", b="b-1")
        if name == "a-1":
            return {"dag.py": "A"}
        raise ConnectionError

    with pytest.raises(ConnectionError):
        check_out(tmp_path / "versions/v1", "v1", read)
    assert list((tmp_path / "versions").iterdir()) == []


def test_the_state_survives_a_restart(tmp_path: Path) -> None:
    State(tmp_path / "x/current.json").save("v1", {"a/dag.py": dag("a-1")})
    assert State(tmp_path / "x/current.json").load() == ("v1", {"a/dag.py": dag("a-1")})


@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", '{"version": "v1"}', '{"version": 1, "files": {"a": 3}}']
)
def test_a_state_that_cannot_be_read_is_none(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "current.json").write_text(text)
    assert State(tmp_path / "current.json").load() == (None, {})
