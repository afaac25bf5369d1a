"""A user's own DAG shows, once parsed, the hash of the files that it was parsed from."""

from __future__ import annotations

from pathlib import Path

from airflow.dag_processing.dagbag import BundleDagBag

from mlpipeline_dags import tagging
from mlpipeline_operator import names

DAG = """
from my_etl.lib.load import NAME
from airflow.sdk import DAG, task

@task
def load():
    print("loaded")

with DAG(NAME, schedule=None, tags=["mine"]):
    load()
"""


def parse(root: Path, **files: str) -> dict[str, set[str]]:
    """Write the files and return the tags of what Airflow finds, by dag_id."""
    tagging.register()
    folder = root / "my_etl"
    (folder / "lib").mkdir(parents=True)
    (folder / "dag.py").write_text(DAG)
    (folder / "lib" / "load.py").write_text("NAME = 'nightly'")
    for name, text in files.items():
        (folder / name).write_text(text)
    bag = BundleDagBag(dag_folder=root, bundle_path=root, bundle_name="pipelines")
    assert bag.import_errors == {}
    return {dag_id: set(dag.tags) for dag_id, dag in bag.dags.items()}


def test_a_dag_gets_the_hash_that_lies_beside_it_and_keeps_its_own_tags(tmp_path: Path) -> None:
    found = parse(tmp_path, **{names.HASH_FILE: "0123456789"})
    assert found == {"nightly": {"mine", names.DAG_TAG, names.dag_hash_tag("0123456789")}}


def test_a_dag_without_one_is_left_as_it_is(tmp_path: Path) -> None:
    assert parse(tmp_path) == {"nightly": {"mine"}}


def test_the_names_are_the_operators() -> None:
    assert tagging.HASH_FILE == names.HASH_FILE
    assert (tagging.TAG, tagging.HASH_TAG) == (names.DAG_TAG, names.DAG_HASH_TAG_PREFIX)


def test_registering_twice_is_registering_once() -> None:
    tagging.register()
    tagging.register()
