from __future__ import annotations

from pathlib import Path

import pytest

from tools.cluster import images
from tools.cluster.errors import ClusterError

DOCKERFILE = """\
FROM base AS operator
COPY code /code
FROM base AS postgres
RUN apt-get install postgresql
FROM base AS airflow
COPY dags/*.py /dags/
FROM airflow AS trainer
COPY LICENSE build/dataset[s] /data/
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "LICENSE").write_text("free")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "main.py").write_text("print(1)\n")
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "bundle.py").write_text("x = 1\n")
    return tmp_path


def hashes(repository: Path) -> dict[str, str]:
    return {target: images.content_hash(target, repository) for target in images.TARGETS}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {target for target in before if before[target] != after[target]}


def test_the_same_inputs_give_the_same_reference(repository: Path) -> None:
    assert hashes(repository) == hashes(repository)
    reference = images.references(["operator"], repository)["operator"]
    assert reference == f"mlpipeline/operator:{hashes(repository)['operator']}"


def test_an_edited_file_changes_only_the_images_that_hold_it(repository: Path) -> None:
    before = hashes(repository)
    (repository / "code" / "main.py").write_text("print(2)\n")
    assert changed(before, hashes(repository)) == {"operator"}


def test_an_edited_stage_changes_its_image_and_those_built_on_it(repository: Path) -> None:
    before = hashes(repository)
    text = DOCKERFILE.replace("FROM base AS airflow\n", "FROM base AS airflow\nRUN true\n")
    (repository / "Dockerfile").write_text(text)
    assert changed(before, hashes(repository)) == {"airflow", "trainer"}


def test_a_renamed_an_added_and_an_executable_file_change_the_image(repository: Path) -> None:
    before = hashes(repository)
    (repository / "code" / "more.py").write_text("")
    added = hashes(repository)
    (repository / "code" / "more.py").rename(repository / "code" / "other.py")
    renamed = hashes(repository)
    (repository / "code" / "other.py").chmod(0o755)
    executable = hashes(repository)
    assert len({each["operator"] for each in (before, added, renamed, executable)}) == 4


def test_bytecode_changes_nothing(repository: Path) -> None:
    before = hashes(repository)
    (repository / "code" / "__pycache__").mkdir()
    (repository / "code" / "__pycache__" / "main.cpython-313.pyc").write_bytes(b"1")
    (repository / "code" / "old.pyc").write_bytes(b"1")
    assert changed(before, hashes(repository)) == set()


def test_data_sets_are_asked_for_by_the_target_that_copies_them_and_leave_its_hash_alone(
    repository: Path,
) -> None:
    before = hashes(repository)
    (repository / "build" / "datasets" / "mnist").mkdir(parents=True)
    (repository / "build" / "datasets" / "mnist" / "x").write_text("1")
    assert changed(before, hashes(repository)) == set()
    assert [target for target in images.TARGETS if images.needs_datasets(target, repository)] == ["trainer"]


def test_a_file_that_the_dockerfile_copies_and_that_is_not_there_is_named(repository: Path) -> None:
    (repository / "LICENSE").unlink()
    with pytest.raises(ClusterError, match="copies LICENSE, which is not in"):
        images.content_hash("trainer", repository)


def test_a_missing_dockerfile_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"there is no .*Dockerfile"):
        images.content_hash("operator", tmp_path)


def test_an_unknown_target_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ClusterError, match="no such image: operatr; there are operator, postgres"):
        images.chosen(["operatr"])


def test_targets_are_built_in_one_order_however_they_are_named() -> None:
    assert images.chosen(["trainer", "operator"]) == ["operator", "trainer"]
    assert images.chosen([]) == list(images.TARGETS)
