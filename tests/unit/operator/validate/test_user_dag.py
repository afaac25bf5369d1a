from __future__ import annotations

from typing import Any

import pytest

from mlpipeline_operator.errors import SpecError
from mlpipeline_operator.validate import validate_pipeline
from mlpipeline_operator.values import Images, PipelineValue

IMAGES = Images(airflow="airflow:1", trainer="trainer:1", postgres="postgres:1")
PLAIN = 'from airflow.sdk import DAG\nwith DAG("nightly", schedule="@daily"):\n    ...\n'


def validated(files: dict[str, str], **dag: Any) -> PipelineValue:
    metadata = {"name": "my-etl", "namespace": "team", "uid": "u-1"}
    return validate_pipeline({"metadata": metadata, "spec": {"dag": {"files": files, **dag}}}, IMAGES)


def refusal(files: dict[str, str], **dag: Any) -> str:
    with pytest.raises(SpecError) as error:
        validated(files, **dag)
    return error.value.message


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        'import airflow.sdk as a\na.DAG(schedule=None, dag_id="nightly")',
        "from airflow.sdk import dag\n@dag\ndef nightly(): ...\nnightly()",
        "from airflow.sdk import dag\n@dag(schedule=None)\ndef nightly(): ...",
        'from airflow.sdk import dag\n@dag(dag_id="nightly")\ndef other(): ...',
        'from airflow.sdk import dag\n@dag("nightly")\ndef other(): ...',
    ],
)
def test_the_one_dag_that_is_written_out_is_the_pipelines(text: str) -> None:
    value = validated({"helpers/load.py": "X = 1", "flow.py": text})
    assert value.dag_id == "nightly"
    assert value.user_dag is not None
    assert (value.user_dag.path, value.user_dag.dag_ids, value.steps) == ("flow.py", ("nightly",), ())


def test_a_config_maps_files_are_delivered_as_those_in_the_pipeline_are() -> None:
    metadata = {"name": "my-etl", "namespace": "team", "uid": "u-1"}
    body = {"metadata": metadata, "spec": {"dag": {"configMapRef": {"name": "flows"}}}}
    files = {"flow.py": PLAIN, "load.py": "X = 1"}
    assert validate_pipeline(body, IMAGES, {"flows": files}) == validated(files)
    with pytest.raises(SpecError, match=r"spec.dag.configMapRef: a.py:1: invalid syntax"):
        validate_pipeline(body, IMAGES, {"flows": {"a.py": "with DAG(:"}})
    with pytest.raises(SpecError, match=r'spec.dag.configMapRef: "..hidden": write the path'):
        validate_pipeline(body, IMAGES, {"flows": {"a.py": PLAIN, "..hidden": ""}})
    with pytest.raises(SpecError) as refused:
        validate_pipeline(body, IMAGES)
    assert refused.value.reason == "ConfigMapNotFound"


def test_files_in_two_places_or_in_none_are_refused() -> None:
    assert "name exactly one place" in refusal({"a.py": PLAIN}, configMapRef={"name": "flows"})


def test_runs_start_only_when_asked_for() -> None:
    assert validated({"a.py": PLAIN}).policy.on_change is False


def test_among_several_dags_one_is_named_and_all_are_claimed() -> None:
    files = {"a.py": PLAIN, "b.py": PLAIN.replace("nightly", "weekly")}
    assert refusal(files) == (
        "spec.dag.dagId: say which DAG of the files is to be run: they hold nightly, weekly"
    )
    value = validated(files, dagId="weekly")
    assert value.user_dag is not None
    assert (value.dag_id, value.user_dag.path) == ("weekly", "b.py")
    assert value.user_dag.dag_ids == ("nightly", "weekly")


def test_an_id_that_is_made_at_run_time_is_to_be_named() -> None:
    text = 'from airflow.sdk import DAG\nDAG(f"{1}")'
    assert refusal({"a.py": text}).endswith("no id of a DAG is written out in them")
    assert validated({"a.py": text}, dagId="1").dag_id == "1"


def test_a_file_that_is_no_python_is_told_with_its_line() -> None:
    assert refusal({"a.py": "x = 1\nwith DAG(:\n"}) == "spec.dag.files: a.py:2: invalid syntax"
    # Python of a later version may be more than ours reads: with a name, Airflow decides.
    assert validated({"a.py": "x = 1\nwith DAG(:\n"}, dagId="a").dag_id == "a"


@pytest.mark.parametrize("path", ["/a.py", "../a.py", "a//b.py", "a b.py", ".hidden.py", "a/./b.py", "~hash"])
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    assert refusal({path: PLAIN, "ok.py": PLAIN}).startswith(f'spec.dag.files: "{path}": write the path')


def test_a_run_is_another_one_with_any_other_file() -> None:
    first = validated({"a.py": PLAIN, "b.txt": "1"})
    assert validated({"b.txt": "1", "a.py": PLAIN}).run_hash == first.run_hash
    assert validated({"a.py": PLAIN, "b.txt": "2"}).run_hash != first.run_hash
