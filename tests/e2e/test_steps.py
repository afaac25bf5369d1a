"""Steps of one's own: any image, dependencies, outputs that later steps read, a shared folder."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from tests.e2e.support import (
    PIPELINE_LABEL,
    AirflowApi,
    installed_images,
    metrics,
    state,
    until,
    wait_for_run,
)
from tools.demo.kube import Kube, Object

# In the PostgreSQL image, where neither Python nor Airflow is.
SPLIT = """
set -eu
date -u +%Y-%m-%dT%H:%M:%S.%6N+00:00
echo "writes rows with seed $MLP_PARAM_SEED"
echo 1,2,3 > "$MLP_ARTIFACTS_DIR/rows.csv"
printf '{"outputs": {"rows": 3, "file": "rows.csv"}, "metrics": {"rows": 3}}' > /dev/termination-log
"""
# In the trainer image, in the worker's pod.
SCORE = """
import datetime, json, os, pathlib, sys
print(datetime.datetime.now(datetime.UTC).isoformat(), flush=True)
rows = pathlib.Path(os.environ["MLP_ARTIFACTS_DIR"], sys.argv[1]).read_text().split(",")
assert len(rows) == int(os.environ["ROWS"]), rows
import tensorflow
print("scored with tensorflow", tensorflow.__version__)
result = {"outputs": {"score": 0.75}, "metrics": {"val_accuracy": 0.75}}
pathlib.Path("/dev/termination-log").write_text(json.dumps(result))
"""


def pipeline(name: str, *steps: dict[str, Any]) -> Object:
    return {
        "apiVersion": "mlpipelines.dev/v1alpha1",
        "kind": "MLPipeline",
        "metadata": {"name": name},
        "spec": {
            "steps": list(steps),
            "parameters": {"seed": 7},
            "objective": {"metric": "val_accuracy"},
        },
    }


@pytest.fixture(scope="module")
def image(kube: Kube) -> str:
    """An image on the node that is not built for Airflow's tasks."""
    return installed_images(kube)["MLP_POSTGRES_IMAGE"]


@pytest.fixture(scope="module")
def run(kube: Kube, namespace: str, mnist: Object, image: str) -> Object:
    kube.apply(
        pipeline(
            "own-steps",
            {"name": "split", "image": image, "command": ["sh", "-c", SPLIT]},
            {
                "name": "score",
                "command": ["python", "-c", SCORE, "$(steps.split.outputs.file)"],
                "env": [{"name": "ROWS", "value": "$(steps.split.outputs.rows)"}],
                "dependsOn": ["split"],
            },
            {
                "name": "report",
                "image": image,
                "command": ["sh", "-c", 'echo "score $0 of seed $1"; test "$0" = 0.75'],
                "args": ["$(steps.score.outputs.score)", "$(params.seed)"],
                "dependsOn": ["score"],
            },
        ),
        namespace=namespace,
    )
    return wait_for_run(kube, namespace, "own-steps-1")


def test_a_run_of_steps_succeeds_with_their_metrics(run: Object) -> None:
    assert state(run) == "Succeeded", json.dumps(run["status"], indent=1)
    assert metrics(run["status"]) == {"rows": "3", "val_accuracy": "0.75"}
    assert run["status"]["metric"] == "val_accuracy=0.75"


def test_each_step_has_state_pod_and_times_in_the_order_of_its_dependencies(run: Object) -> None:
    steps = run["status"]["steps"]
    assert [(step["name"], step["state"], step["attempt"]) for step in steps] == [
        ("split", "Succeeded", 1),
        ("score", "Succeeded", 1),
        ("report", "Succeeded", 1),
    ]
    for before, after in pairwise(steps):
        assert before["finishedAt"] <= after["startedAt"]


@pytest.fixture(scope="module")
def logs(kube: Kube, namespace: str, run: Object) -> dict[str, list[str]]:
    return {
        step["name"]: kube.run(
            "logs", step["pod"], f"--namespace={namespace}", "--container=base"
        ).splitlines()
        for step in run["status"]["steps"]
    }


def test_a_steps_own_pod_has_its_plain_log(logs: dict[str, list[str]]) -> None:
    assert logs["split"][1:] == ["writes rows with seed 7"]
    assert any(line.startswith("scored with tensorflow") for line in logs["score"])
    assert logs["report"] == ["score 0.75 of seed 7"]


def test_the_time_until_a_steps_own_code_runs_is_told(
    run: Object,
    logs: dict[str, list[str]],
    airflow: AirflowApi,
    namespace: str,
    figures: dict[str, float],
) -> None:
    """From when Airflow queues the task until the step's own code says what time it is."""
    path = f"/dags/{namespace}.own-steps/dagRuns/{run['status']['dagRunId']}/taskInstances"
    tasks = {task["task_id"]: task for task in airflow.get(path)["task_instances"]}
    for step, kind in (("split", "a pod of its own"), ("score", "the worker's pod")):
        queued = datetime.fromisoformat(tasks[step]["queued_when"])
        (began,) = [line for line in logs[step] if line.startswith("20") and line.endswith("+00:00")]
        took = (datetime.fromisoformat(began) - queued).total_seconds()
        figures[f"s from a step's queueing until its own code runs, {kind}"] = took
    for before, after in pairwise(["split", "score", "report"]):
        ended = datetime.fromisoformat(tasks[before]["end_date"])
        took = (datetime.fromisoformat(tasks[after]["queued_when"]) - ended).total_seconds()
        figures[f"s from the end of step {before} to the queueing of step {after}"] = took


def test_a_step_that_fails_tells_its_last_line_and_the_next_is_skipped(
    kube: Kube, namespace: str, mnist: Object, image: str
) -> None:
    broken = {
        "name": "broken",
        "image": image,
        # Two streams: what is written to both at once may change places on the way to the log.
        "command": ["sh", "-c", "echo begins; sleep 1; echo no rows >&2; exit 3"],
    }
    never = {"name": "never", "command": ["true"], "dependsOn": ["broken"]}
    kube.apply(pipeline("failing-step", broken, never), namespace=namespace)
    run = wait_for_run(kube, namespace, "failing-step-1")
    assert state(run) == "Failed", run["status"]
    failure = run["status"]["failure"]
    assert (failure["step"], failure["reason"], failure["message"]) == ("broken", "Error", "no rows")
    first, second = run["status"]["steps"]
    assert (first["state"], first["exitCode"]) == ("Failed", 3)
    assert second["state"] == "Skipped"
    assert "no rows" in kube.run(*failure["logs"].split()[1:])


def test_an_image_that_is_not_there_is_the_cause(kube: Kube, namespace: str, mnist: Object) -> None:
    step = {"name": "lost", "image": "localhost/no-such-image:1", "imagePullPolicy": "Never"}
    kube.apply(pipeline("lost-image", step), namespace=namespace)
    run = wait_for_run(kube, namespace, "lost-image-1")
    assert state(run) == "Failed", run["status"]
    failure = run["status"]["failure"]
    assert failure["reason"] == "ErrImageNeverPull"
    assert "no-such-image" in failure["message"]


def test_a_step_over_its_memory_limit_is_told_as_such(
    kube: Kube, namespace: str, mnist: Object, image: str
) -> None:
    step = {
        "name": "greedy",
        "image": image,
        "command": ["sh", "-c", "tail /dev/zero"],
        "resources": {"limits": {"memory": "32Mi"}},
    }
    kube.apply(pipeline("greedy-step", step), namespace=namespace)
    run = wait_for_run(kube, namespace, "greedy-step-1")
    assert run["status"]["failure"]["reason"] == "OOMKilled", run["status"]


def test_deleting_the_run_deletes_the_pods_of_its_steps(kube: Kube, namespace: str, run: Object) -> None:
    kube.delete("mlpipelinerun", "own-steps-1", namespace)

    def gone() -> bool:
        pods = kube.list("pods", namespace)
        return not any(
            (pod["metadata"].get("labels") or {}).get(PIPELINE_LABEL) == "own-steps" for pod in pods
        )

    until("no pod of the run is left", gone, seconds=180)
