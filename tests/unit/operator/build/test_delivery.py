"""A user's own files reach Airflow as they are, with a hash beside them."""

from __future__ import annotations

from mlpipeline_operator import names
from mlpipeline_operator.build.delivery import bundle_files, dag_file, delivery
from mlpipeline_operator.validate import validate_pipeline
from mlpipeline_operator.values import Images, PipelineValue

IMAGES = Images("airflow:1", "trainer:1", "postgres:1")
FILES = {"flow.py": 'DAG("nightly")', "lib/load.py": "X = 1"}


def value(files: dict[str, str], name: str = "my-etl") -> PipelineValue:
    metadata = {"name": name, "namespace": "team", "uid": "u-1"}
    return validate_pipeline({"metadata": metadata, "spec": {"dag": {"files": files}}}, IMAGES)


def test_every_file_has_a_place_that_python_can_import() -> None:
    digest, config_map = delivery(value(FILES))
    found = bundle_files(value(FILES), config_map["metadata"]["name"])
    texts = {path: config_map["data"][key] for path, (_, key) in found.items()}
    assert texts == {
        "my_etl/flow.py": 'DAG("nightly")',
        "my_etl/lib/load.py": "X = 1",
        "my_etl/~hash": digest,
    }
    assert sorted(found)[-1] == "my_etl/~hash"
    assert dag_file(value(FILES)) == "my_etl/flow.py"


def test_a_changed_file_renews_all_of_them() -> None:
    before, after = (delivery(value(files)) for files in (FILES, FILES | {"lib/load.py": "X = 2"}))
    assert before[0] != after[0]
    # The name of the ConfigMap, by which the bundle tells what to write anew.
    assert before[1]["metadata"]["name"] != after[1]["metadata"]["name"]


def test_keys_are_such_as_a_config_map_takes_and_never_the_same() -> None:
    paths = ["a/b.py", "a_b.py", "a-b.py", "a/b/c.py", "~hash"]
    keys = [names.file_key(path) for path in paths]
    assert len(set(keys)) == len(paths)
    assert not any(set(key) & {"/", "~"} or key.startswith("..") for key in keys)
