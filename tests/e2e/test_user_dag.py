"""Airflow files of a user's own: delivered as they are, run on request, each task in the run's status."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e.support import conditions, log, state, until, wait_for_run, wait_for_state
from tools.demo.kube import Kube, Object

DAG = """
from airflow.sdk import DAG, task
from my_etl.lib.load import rows

@task
def load(**context):
    print("loads", rows(), context["params"]["parameters"])
    return rows()

@task
def fail_if_few(found):
    assert found > LIMIT, f"only {found} rows"

with DAG("e2e-nightly", schedule=None, params={"parameters": {}}):
    fail_if_few(load())
"""
MAPPED = """
from airflow.sdk import DAG, task
from mapped.words import WORDS

@task
def say():
    print(WORDS)

with DAG("e2e-mapped", schedule=None):
    say()
"""
LIB = "def rows():\n    return 3\n"


def pipeline(name: str, dag: str, **fields: object) -> Object:
    return {
        "apiVersion": "mlpipelines.dev/v1alpha1",
        "kind": "MLPipeline",
        "metadata": {"name": name},
        "spec": {"dag": {"files": {"flow.py": dag, "lib/load.py": LIB}, **fields}, "parameters": {"seed": 7}},
    }


def run_of(kube: Kube, namespace: str, name: str, pipeline: str = "my-etl") -> Object:
    """Ask for a run of a pipeline, and return it once it has ended."""
    run: Object = {
        "apiVersion": "mlpipelines.dev/v1alpha1",
        "kind": "MLPipelineRun",
        "metadata": {"name": name},
        "spec": {"pipelineRef": {"name": pipeline}},
    }
    kube.apply(run, namespace=namespace)
    return wait_for_run(kube, namespace, name)


def wait_until_ready(kube: Kube, namespace: str, generation: int) -> Object:
    def look() -> Object | None:
        found = kube.get("mlpipeline", "my-etl", namespace)
        status = (found or {}).get("status") or {}
        is_ready = found is not None and status and conditions(found).get("Ready") == "True"
        return found if is_ready and status["observedGeneration"] >= generation else None

    return until(f"generation {generation} of my-etl is parsed", look, seconds=240)


@pytest.fixture(scope="module")
def ready(kube: Kube, namespace: str, mnist: Object) -> Iterator[Object]:
    kube.apply(pipeline("my-etl", DAG.replace("LIMIT", "1")), namespace=namespace)
    yield wait_until_ready(kube, namespace, 1)
    # Its last file cannot be imported, which other tests would see in the Airflow that they share.
    kube.delete("mlpipeline", "my-etl", namespace, wait=180)


def test_a_run_of_the_users_dag_has_a_step_for_each_task(kube: Kube, namespace: str, ready: Object) -> None:
    assert ready["status"]["dagId"] == "e2e-nightly"
    assert state(ready) == "Idle"
    run = run_of(kube, namespace, "etl-a")
    assert state(run) == "Succeeded", json.dumps(run["status"], indent=1)
    steps = run["status"]["steps"]
    assert [(step["name"], step["state"]) for step in steps] == [
        ("load", "Succeeded"),
        ("fail_if_few", "Succeeded"),
    ]
    log = kube.run("logs", steps[0]["pod"], f"--namespace={namespace}", "--container=base")
    assert "loads 3 {'seed': '7'}" in log


def test_an_edited_file_is_what_the_next_run_runs(kube: Kube, namespace: str, ready: Object) -> None:
    generation = ready["metadata"]["generation"] + 1
    kube.apply(pipeline("my-etl", DAG.replace("LIMIT", "5")), namespace=namespace)
    wait_until_ready(kube, namespace, generation)
    run = run_of(kube, namespace, "etl-b")
    assert state(run) == "Failed", json.dumps(run["status"], indent=1)
    assert run["status"]["failure"]["step"] == "fail_if_few"


def test_a_dag_that_another_pipeline_has_is_a_conflict(kube: Kube, namespace: str, ready: Object) -> None:
    kube.apply(pipeline("second-etl", DAG.replace("LIMIT", "1")), namespace=namespace)

    def stalled() -> Object | None:
        found = kube.get("mlpipeline", "second-etl", namespace)
        return found if found and found.get("status") and conditions(found).get("Stalled") == "True" else None

    found = until("second-etl is stalled", stalled, seconds=120)
    (reason,) = [each["reason"] for each in found["status"]["conditions"] if each["type"] == "Stalled"]
    assert reason == "DagIdConflict"
    assert "my-etl has the DAG e2e-nightly" in found["status"]["message"]
    kube.delete("mlpipeline", "second-etl", namespace)


def test_an_import_error_is_told_with_file_and_line(kube: Kube, namespace: str, ready: Object) -> None:
    kube.apply(pipeline("my-etl", DAG.replace("lib.load import", "lib.gone import")), namespace=namespace)

    def told() -> str:
        found = kube.get("mlpipeline", "my-etl", namespace) or {}
        message = str((found.get("status") or {}).get("message", ""))
        return message if "lib.gone" in message else ""

    message = until("the import error is told", told, seconds=240)
    assert message.startswith("my_etl/flow.py:3: ModuleNotFoundError")


def test_files_of_a_config_map_are_run_as_they_are_now(kube: Kube, namespace: str, mnist: Object) -> None:
    files: Object = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "flows"},
        "data": {"flow.py": MAPPED, "words.py": "WORDS = 'at first'\n"},
    }
    mapped = pipeline("mapped", "")
    mapped["spec"] = {"dag": {"configMapRef": {"name": "flows"}}}
    kube.apply(files, mapped, namespace=namespace)
    wait_for_state(kube, namespace, "mlpipeline/mapped", "Idle")
    assert "at first" in printed(kube, namespace, run_of(kube, namespace, "mapped-a", "mapped"))

    before = kube.get("mlpipeline", "mapped", namespace)
    assert before is not None
    files["data"]["words.py"] = "WORDS = 'and now'\n"
    kube.apply(files, namespace=namespace)

    def parsed() -> bool:
        found = kube.get("mlpipeline", "mapped", namespace) or {}
        is_new = found["status"]["dagHash"] != before["status"]["dagHash"]
        return is_new and conditions(found)["Ready"] == "True"

    until("the edited ConfigMap is parsed", parsed, seconds=240)
    assert "and now" in printed(kube, namespace, run_of(kube, namespace, "mapped-b", "mapped"))
    kube.delete("mlpipeline", "mapped", namespace)


def printed(kube: Kube, namespace: str, run: Object) -> str:
    """The log of the one step of a run that ended well."""
    assert state(run) == "Succeeded", json.dumps(run["status"], indent=1)
    (step,) = run["status"]["steps"]
    return log(kube, namespace, step["pod"])
