"""Entry of the worker pods: runs one task as Airflow's own entry does, with a log that people can read.

Airflow's ``execute_workload`` writes each line of a task as JSON to the pod's log. Here the lines are plain,
and a training's own output reaches the pod's log as it is: the DAG gets a descriptor of it in ``MLP_LOG_FD``,
writes there, and logs each line under ``TRAINING_LOGGER`` too (for the task's log file), which is left out.

The pod template sets ``command: ["python", "-m", "mlpipeline_dags.worker"]``; the executor appends the
arguments of its own entry: ``python -m airflow.sdk.execution_time.execute_workload --json-string {...}``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, MutableMapping, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

LOG_FD_VARIABLE = "MLP_LOG_FD"
FOLDER_VARIABLE = "MLP_BUNDLE_FOLDER"
TRAINING_LOGGER = "mlpipelines.training"
# What Airflow adds to each line; a pod runs one attempt of one task, and its labels say which.
SAME_ON_EVERY_LINE = ("dag_id", "run_id", "task_id", "map_index", "try_number", "ti_id")


def workload_json(arguments: Sequence[str]) -> str:
    """Return the workload out of the executor's arguments.

    Raises:
        SystemExit: There is none.
    """
    options = dict(pairwise(arguments))
    if "--json-string" in options:
        return options["--json-string"]
    if "--json-path" in options:
        with open(options["--json-path"], encoding="utf-8") as file:
            return file.read()
    raise SystemExit("usage: python -m mlpipeline_dags.worker ... --json-string WORKLOAD | --json-path FILE")


def bundle_folder(workload: str) -> str:
    """Return the folder of the bundle that the workload's DAG file lies in; empty if it lies at the root."""
    parts = PurePosixPath(json.loads(workload).get("dag_rel_path") or "").parts
    return parts[0] if len(parts) > 1 else ""


def plain(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Structlog processor: make an event one that people read in the pod's log.

    Raises:
        structlog.DropEvent: The training has written this line to the pod's log itself.
    """
    if event.get("logger") == TRAINING_LOGGER:
        import structlog

        raise structlog.DropEvent
    for key in SAME_ON_EVERY_LINE:
        event.pop(key, None)
    if isinstance(event.get("timestamp"), datetime):
        # In one word, as Airflow's own lines have it: by it the UI puts a log's lines in order.
        event["timestamp"] = event["timestamp"].isoformat().replace("+00:00", "Z")
    if details := event.pop("error_detail", None):
        event["exception"] = "\n".join(line for detail in details for line in _traceback(detail))
    return event


def _traceback(detail: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of an exception as Airflow's task process sends it."""
    for frame in detail.get("frames") or ():
        yield f'  File "{frame["filename"]}", line {frame["lineno"]}, in {frame["name"]}'
    yield f"{detail['exc_type']}: {detail['exc_value']}"


def main(arguments: Sequence[str]) -> None:
    """Run the workload; exits with Airflow's own exit code for it."""
    workload_text = workload_json(arguments)
    os.environ[LOG_FD_VARIABLE] = str(os.dup(sys.stdout.fileno()))
    os.environ[FOLDER_VARIABLE] = bundle_folder(workload_text)

    # Imported only now: these imports are most of a worker's start.
    import structlog
    from airflow.executors import workloads
    from airflow.executors.base_executor import BaseExecutor
    from airflow.sdk.log import configure_logging
    from airflow.settings import dispose_orm
    from pydantic import TypeAdapter

    dispose_orm(do_log=False)
    configure_logging(output=sys.stdout, json_output=False, colored_console_log=False)
    structlog.configure(processors=[plain, *structlog.get_config()["processors"]])
    workload = TypeAdapter[workloads.All](workloads.All).validate_json(workload_text)
    BaseExecutor.run_workload(workload, subprocess_logs_to_stdout=True)


if __name__ == "__main__":
    main(sys.argv[1:])
