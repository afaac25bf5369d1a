from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
import structlog

from mlpipeline_dags.worker import TRAINING_LOGGER, bundle_folder, plain, workload_json

ARGUMENTS = ["python", "-m", "airflow.sdk.execution_time.execute_workload", "--json-string", '{"a": 1}']


def test_the_workload_is_taken_from_the_executors_arguments() -> None:
    assert workload_json(ARGUMENTS) == '{"a": 1}'


def test_without_a_workload_the_usage_is_told() -> None:
    with pytest.raises(SystemExit, match="usage"):
        workload_json(["python", "-m", "airflow"])


@pytest.mark.parametrize(
    ("path", "folder"), [("mnist/dag.py", "mnist"), ("a/b/dag.py", "a"), ("dag.py", ""), (None, "")]
)
def test_the_folder_of_the_bundle_is_the_first_of_the_dags_path(path: str | None, folder: str) -> None:
    assert bundle_folder(json.dumps({"dag_rel_path": path})) == folder


def test_what_the_training_wrote_itself_is_not_written_again() -> None:
    with pytest.raises(structlog.DropEvent):
        plain(None, "info", {"event": "Epoch 1/3", "logger": TRAINING_LOGGER})


def test_other_lines_stay_without_what_is_the_same_on_each() -> None:
    event = {"event": "hello", "logger": "task.stdout", "dag_id": "d", "try_number": 1}
    assert plain(None, "info", event) == {"event": "hello", "logger": "task.stdout"}


def test_a_time_is_one_word_by_which_airflow_can_order_the_lines() -> None:
    stamp = datetime(2026, 11, 22, 20, 22, 18, 844479, tzinfo=UTC)
    assert (
        plain(None, "info", {"event": "x", "timestamp": stamp})["timestamp"] == "2026-11-22T20:22:18.844479Z"
    )


def test_an_exception_is_told_as_python_tells_it() -> None:
    frames = [{"filename": "/x/dag.py", "lineno": 3, "name": "run"}]
    event = plain(
        None,
        "error",
        {
            "event": "Task failed",
            "error_detail": [{"exc_type": "ValueError", "exc_value": "boom", "frames": frames}],
        },
    )
    assert event["exception"] == '  File "/x/dag.py", line 3, in run\nValueError: boom'
    assert "error_detail" not in event
