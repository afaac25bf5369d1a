"""Airflow parses what the operator renders, and KubernetesExecutor makes the pod that the operator means."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from airflow.serialization.serialized_objects import DagSerialization
from airflow.utils.dates import cron_presets as PRESET_CRON
from croniter import croniter

from mlpipeline_operator.build.dag import render_dag
from mlpipeline_operator.validate.schedule import check_schedule
from mlpipeline_operator.values import PipelineValue, RunPolicy
from tests.airflow.pipelines import pipeline, write_dag

TEMPLATE = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "worker", "labels": {"component": "worker"}},
    "spec": {
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": True},
        "containers": [
            {
                "name": "base",
                "image": "airflow",
                "command": ["python", "-m", "mlpipeline_dags.worker"],
                "securityContext": {"readOnlyRootFilesystem": True},
                "env": [{"name": "HOME", "value": "/tmp"}],
                "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
            }
        ],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    },
}


@pytest.fixture
def dag(tmp_path: Path) -> Any:
    return parsed(tmp_path, pipeline())


def parsed(tmp_path: Path, value: PipelineValue) -> Any:
    """The DAG as Airflow reads its file."""
    path = write_dag(tmp_path, value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bag = BundleDagBag(dag_folder=path, bundle_path=tmp_path, bundle_name="pipelines")
    assert bag.import_errors == {}
    assert bag.dag_warnings == set()
    assert list(bag.dags) == ["team-a.mnist"]
    return bag.dags["team-a.mnist"]


def test_a_rendered_dag_has_no_import_error_and_no_warning(dag: Any) -> None:
    assert [task.task_id for task in dag.tasks] == ["train"]


def test_the_dag_shows_its_hash(dag: Any) -> None:
    assert f"mlpipelines.dev/dag-hash={render_dag(pipeline()).hash}" in dag.tags


def test_nothing_is_due_before_somebody_triggers_it(dag: Any) -> None:
    assert dag.start_date is None
    assert dag.schedule is None
    assert dag.tasks[0].retries == 1


def test_an_airflow_that_creates_dags_paused_does_not_pause_this_one(dag: Any) -> None:
    assert dag.is_paused_upon_creation is False


PRESETS = ["@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly"]


@pytest.mark.parametrize("schedule", ["30 4 * * mon-fri", "0 0 * * 1#2", "0 0 l * *", *PRESETS])
def test_the_next_run_of_a_schedule_is_the_next_tick_in_its_zone(tmp_path: Path, schedule: str) -> None:
    zone = ZoneInfo("Europe/Berlin")
    dag = parsed(tmp_path, replace(pipeline(), schedule=check_schedule(schedule), timezone="Europe/Berlin"))
    served = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
    due = served.next_dagrun_info(last_automated_run_info=None)
    now = datetime.now(zone)
    expected = croniter(PRESET_CRON.get(schedule, schedule), now).get_next(datetime)
    assert due.run_after == expected, "no missed tick is made up for on the first parse"


def test_deadline_limit_and_backoff_are_airflows_own(tmp_path: Path) -> None:
    policy = RunPolicy(
        on_change=True, concurrency="Forbid", retries=3, retry_delay=30, max_retry_delay=600, deadline=5400
    )
    dag = parsed(tmp_path, replace(pipeline(), policy=policy))
    assert (dag.max_active_runs, dag.dagrun_timeout) == (1, timedelta(minutes=90))
    task = dag.tasks[0]
    assert (task.retries, task.retry_delay) == (3, timedelta(seconds=30))
    assert (bool(task.retry_exponential_backoff), task.max_retry_delay) == (True, timedelta(minutes=10))


def test_the_dag_survives_its_way_through_the_database(dag: Any) -> None:
    text = json.dumps(DagSerialization.to_dict(dag))
    again = DagSerialization.from_dict(json.loads(text))
    assert again.params["parameters"] == {"epochs": "3"}
    override = again.get_task("train").executor_config["pod_override"]
    assert override.spec.containers[0].image == "registry.example/trainer:1"


def test_overrides_take_the_place_of_all_parameters_at_once_whatever_their_names(dag: Any) -> None:
    conf = {"run": {"name": "mnist-1", "uid": "1"}, "parameters": {"epochs": "9", "run": "x"}}
    params = DagSerialization.from_dict(DagSerialization.to_dict(dag)).params.deep_merge(conf)
    assert params.validate()["parameters"] == {"epochs": "9", "run": "x"}


def test_the_pod_is_the_templates_with_what_the_step_wants(dag: Any) -> None:
    override = dag.tasks[0].executor_config["pod_override"]
    pod = PodGenerator.construct_pod(
        dag_id="team-a.mnist",
        task_id="train",
        pod_id="team-a-mnist-train-x",
        try_number=1,
        kube_image="",
        date=None,
        args=["python"],
        pod_override_object=override,
        base_worker_pod=PodGenerator.deserialize_model_dict(TEMPLATE),
        namespace="platform",
        scheduler_job_id="1",
        run_id="mnist-1.uid",
    )
    found = PodGenerator.serialize_pod(pod)
    assert found["metadata"]["ownerReferences"][0]["uid"] == "0c1d"
    assert found["metadata"]["namespace"] == "team-a", "its own, not that of the executor"
    assert (
        found["metadata"]["labels"].items()
        >= {"component": "worker", "mlpipelines.dev/step": "train"}.items()
    )
    spec, container = found["spec"], found["spec"]["containers"][0]
    assert spec["securityContext"] == {"runAsNonRoot": True}
    assert spec["serviceAccountName"] == "airflow-default-worker"
    assert {volume["name"] for volume in spec["volumes"]} == {"tmp", "artifacts"}
    assert container["securityContext"] == {"readOnlyRootFilesystem": True}
    assert container["command"] == ["python", "-m", "mlpipeline_dags.worker"]
    assert container["resources"]["limits"] == {"memory": "4Gi"}
    assert {variable["name"] for variable in container["env"]} >= {"HOME", "TOKEN"}
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/tmp", "/mlp/artifacts"}


def test_a_step_that_asks_for_no_resources_has_the_templates(dag: Any) -> None:
    override = dag.tasks[0].executor_config["pod_override"]
    override.spec.containers[0].resources = None
    template = PodGenerator.deserialize_model_dict(TEMPLATE)
    template.spec.containers[0].resources = {"requests": {"cpu": "100m"}}
    found = PodGenerator.serialize_pod(PodGenerator.reconcile_pods(template, override))
    assert found["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "100m"}}


def test_inside_the_pod_the_executors_part_is_not_even_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_IS_K8S_EXECUTOR_POD", "True")
    module = ModuleType("dag")
    exec(write_dag(tmp_path, pipeline()).read_text(), module.__dict__)
    assert module.executor_config({"kind": "Pod"}) == {}
