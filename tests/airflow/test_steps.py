"""Airflow parses a DAG with steps, and its tasks do with pods, outputs and failures what the docs say."""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk.exceptions import AirflowFailException
from airflow.serialization.serialized_objects import DagSerialization

from tests.airflow.pipelines import write_dag
from tests.airflow.stepped import STEPS, stepped


@dataclass
class TaskInstance:
    """As much of Airflow's as the tasks use; ``left`` is what other tasks have pushed."""

    left: dict[tuple[str, str], Any] = field(default_factory=dict)
    pushed: dict[str, Any] = field(default_factory=dict)
    dag_id: str = "team-a.churn"
    run_id: str = "churn-1.uid"
    task_id: str = "fit"
    try_number: int = 2
    map_index: int = -1

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value

    def xcom_pull(self, task_ids: str, key: str) -> Any:
        return self.left.get((task_ids, key))


def context(parameters: dict[str, Any] | None = None, **outputs: dict[str, str]) -> dict[str, Any]:
    """What Airflow gives a task: ``outputs`` by step."""
    ti = TaskInstance({(step, "outputs"): values for step, values in outputs.items()})
    return {
        "ti": ti,
        "dag": SimpleNamespace(),
        "dag_run": SimpleNamespace(conf={"run": {"name": "churn-1", "uid": "uid"}}),
        "run_id": ti.run_id,
        "params": {"parameters": parameters or {}},
    }


def module(folder: Path, *steps: dict[str, Any]) -> Any:
    """Return the rendered DAG, executed."""
    found = ModuleType("rendered_dag")
    text = write_dag(folder, stepped(*steps)).read_text()
    exec(compile(text, "dag.py", "exec"), found.__dict__)
    return found


@pytest.fixture
def dag(tmp_path: Path) -> Any:
    path = write_dag(tmp_path, stepped())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bag = BundleDagBag(dag_folder=path, bundle_path=tmp_path, bundle_name="pipelines")
    assert bag.import_errors == {}
    assert bag.dag_warnings == set()
    return bag.dags["team-a.churn"]


def test_each_step_is_a_task_after_those_that_it_depends_on(dag: Any) -> None:
    assert {task.task_id: task.upstream_task_ids for task in dag.tasks} == {
        "split": set(),
        "fit": {"split"},
        "check": {"fit"},
    }
    assert {task.task_id: task.retries for task in dag.tasks} == {"split": 2, "fit": 1, "check": 1}


def test_only_a_step_with_an_image_of_its_own_has_a_second_pod(dag: Any) -> None:
    kinds = {task.task_id: isinstance(task, KubernetesPodOperator) for task in dag.tasks}
    assert kinds == {"split": True, "fit": False, "check": True}
    launcher = dag.get_task("split").executor_config["pod_override"]
    assert launcher.spec.service_account_name == "airflow-default-launcher"
    assert launcher.spec.containers[0].image is None
    worker = dag.get_task("fit").executor_config["pod_override"]
    assert worker.spec.service_account_name == "airflow-default-worker"
    assert worker.spec.containers[0].image == "registry.example/trainer:1"


def test_the_dag_survives_its_way_through_the_database(dag: Any) -> None:
    again = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
    assert {task.task_id for task in again.tasks} == {"split", "fit", "check"}


def test_without_images_of_ones_own_the_provider_is_not_imported(tmp_path: Path) -> None:
    text = write_dag(tmp_path, stepped({"name": "only", "command": ["true"]})).read_text()
    assert "KubernetesPodOperator" not in text
    assert "run_training" not in text
    assert [line for line in text.splitlines() if "# <" in line] == ["# <pipeline>", "# </pipeline>"]


def test_the_steps_pod_is_filled_in_and_stays_within_the_security_level(tmp_path: Path) -> None:
    task = module(tmp_path).tasks["split"]
    task.pod_template_dict = task.filled_in(context({"seed": "8"}))
    pod = task.build_pod_request_obj(context(), dry_run=True).to_dict()
    assert pod["metadata"]["annotations"] == {
        "dag_id": "team-a.churn",
        "run_id": "churn-1.uid",
        "task_id": "fit",
        "try_number": "2",
    }
    assert pod["metadata"]["labels"]["mlpipelines.dev/step"] == "split"
    assert pod["metadata"]["owner_references"][0]["uid"] == "0c1d"
    assert pod["metadata"]["name"].startswith("churn-split-")
    spec, (container,) = pod["spec"], pod["spec"]["containers"]
    assert container["image"] == "registry.example/tools:1"
    assert container["command"] == ["split", "--seed=8", "{{ ds }}"]
    assert container["termination_message_policy"] == "FallbackToLogsOnError"
    assert container["security_context"]["capabilities"]["drop"] == ["ALL"]
    assert container["security_context"]["allow_privilege_escalation"] is False
    assert spec["security_context"]["run_as_non_root"] is True
    assert spec["security_context"]["seccomp_profile"]["type"] == "RuntimeDefault"
    assert spec["automount_service_account_token"] is False
    assert spec["restart_policy"] == "Never"
    env = {variable["name"]: variable["value"] for variable in container["env"]}
    assert env["MLP_PARAM_SEED"] == "8"
    assert env["MLP_RUN_NAME"] == "churn-1"
    assert env["MLP_ARTIFACTS_DIR"] == "/mlp/artifacts/team-a/churn/churn-1"
    assert env["MLP_ARTIFACTS_URI"] == "pvc://airflow-default-artifacts/team-a/churn/churn-1"
    assert env["MLP_MODEL_DIR"] == "/mlp/artifacts/team-a/churn/churn-1/split/model"
    (mount,) = [each for each in container["volume_mounts"] if each["sub_path"]]
    assert (mount["sub_path"], mount["mount_path"]) == ("team-a/churn/churn-1", env["MLP_ARTIFACTS_DIR"])


def test_a_text_of_the_users_is_no_jinja_template(dag: Any) -> None:
    assert {task.task_id: tuple(task.template_fields) for task in dag.tasks} == {
        "split": (),
        "fit": (),
        "check": (),
    }


def test_an_output_cannot_bring_a_reference_of_its_own(tmp_path: Path) -> None:
    task = module(tmp_path).tasks["check"]
    pod = task.filled_in(context(fit={"score": "$(HOSTNAME) $(params.seed)"}))
    container = pod["spec"]["containers"][0]
    # Kubernetes expands $(NAME), and makes $( of $$(.
    assert container["args"] == ["$$(HOSTNAME) $$(params.seed)", "$(HOSTNAME)"]


def test_an_output_that_was_not_reported_fails_the_step_for_good(tmp_path: Path) -> None:
    task = module(tmp_path).tasks["check"]
    given = context(fit={"loss": "1"})
    with pytest.raises(AirflowFailException, match=r"MissingOutput: there is no steps\.fit\.outputs\.score"):
        task.execute(given)
    assert given["ti"].pushed["result"]["failure"]["reason"] == "MissingOutput"


@pytest.fixture
def execute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Execute the step with an image, its pod ending as said; return what it pushes."""

    def execute(error: Exception | None, terminated: dict[str, Any] | None) -> dict[str, Any]:
        task = module(tmp_path).tasks["split"]
        given = context()

        def run(self: Any, _context: Any) -> None:
            state = SimpleNamespace(terminated=SimpleNamespace(**terminated) if terminated else None)
            status = SimpleNamespace(name="base", state=state)
            self.remote_pod = SimpleNamespace(status=SimpleNamespace(container_statuses=[status]))
            if error:
                raise error

        monkeypatch.setattr(KubernetesPodOperator, "execute", run)
        pushed: dict[str, Any] = given["ti"].pushed
        try:
            task.execute(given)
        except Exception as raised:
            pushed["raised"] = raised
        return pushed

    return execute


def test_a_steps_termination_message_becomes_its_outputs_and_metrics(execute: Any) -> None:
    message = json.dumps({"outputs": {"rows": 70000, "path": "a b"}, "metrics": {"auc": 0.9}})
    pushed = execute(None, {"message": message, "exit_code": 0, "reason": "Completed"})
    assert pushed["outputs"] == {"rows": "70000", "path": "a b"}
    assert pushed["metrics"] == {"auc": 0.9}
    assert "raised" not in pushed


@pytest.mark.parametrize("message", [None, "", "done", "[1]", '"text"'])
def test_a_step_need_not_leave_anything(execute: Any, message: str | None) -> None:
    pushed = execute(None, {"message": message, "exit_code": 0, "reason": "Completed"})
    assert "outputs" not in pushed
    assert "raised" not in pushed


def test_a_step_that_fails_is_told_by_the_last_line_of_its_log(execute: Any) -> None:
    log = "Traceback (most recent call last):\nValueError: no rows\n"
    pushed = execute(RuntimeError("pod failed"), {"message": log, "exit_code": 3, "reason": "Error"})
    assert str(pushed["raised"]) == "Error: ValueError: no rows"
    assert pushed["result"]["failure"]["exitCode"] == 3


def test_a_step_that_fails_in_its_own_words_is_told_by_them(execute: Any) -> None:
    failure = {"reason": "DataError", "message": "no rows", "retryable": False}
    message = json.dumps({"schema": 1, "failure": failure})
    pushed = execute(RuntimeError("pod failed"), {"message": message, "exit_code": 3, "reason": "Error"})
    assert isinstance(pushed["raised"], AirflowFailException)
    assert str(pushed["raised"]) == "DataError: no rows"


def test_an_image_that_cannot_be_pulled_is_the_cause_though_cleaning_up_fails_too(execute: Any) -> None:
    error = RuntimeError("Pod churn-split returned a failure.")
    error.__context__ = RuntimeError("Image cannot be pulled, unable to start: ErrImagePull\nnot found")
    pushed = execute(error, None)
    assert pushed["result"]["failure"]["reason"] == "ErrImagePull"
    assert "not found" in pushed["result"]["failure"]["message"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a script as the step in the worker's pod; return what it pushes."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("MLP_LOG_FD", raising=False)
    log = tmp_path / "termination-log"
    log.touch()
    monkeypatch.setenv("LOG", str(log))

    def run(script: str, **variables: str) -> dict[str, Any]:
        step = {**STEPS[1], "command": [sys.executable, "-c", script]}
        found = module(tmp_path, STEPS[0], step)
        found.TERMINATION_LOG, found.ARTIFACTS = log, str(tmp_path / "artifacts")
        monkeypatch.setenv("ROWS", "$(steps.split.outputs.rows) of $$(params.seed)")
        given = context(split={"rows": "70000"})
        pushed: dict[str, Any] = given["ti"].pushed
        try:
            found.run_command(found.STEPS[1], **given)
        except Exception as raised:
            pushed["raised"] = raised
        pushed["told"] = log.read_text()
        return pushed

    return run


def test_a_command_gets_outputs_parameters_and_a_folder_and_leaves_outputs(run: Any) -> None:
    script = (
        "import json, os, sys; assert os.path.isdir(os.environ['MLP_ARTIFACTS_DIR']);"
        "json.dump({'outputs': {'seen': [sys.argv[1:], os.environ['ROWS'], os.environ['MLP_PARAM_SEED']]}},"
        " open(os.environ['LOG'], 'w'))"
    )
    pushed = run(script)
    assert "raised" not in pushed
    assert json.loads(pushed["outputs"]["seen"]) == [["--rows", "70000"], "70000 of $(params.seed)", "7"]


def test_a_command_that_fails_leaves_its_last_words_for_the_operator(run: Any) -> None:
    pushed = run("import sys; print('reading'); sys.exit('no rows')")
    assert str(pushed["raised"]) == "Error: no rows"
    assert not isinstance(pushed["raised"], AirflowFailException)
    told = {"reason": "Error", "message": "no rows", "exitCode": 1}
    assert json.loads(pushed["told"]) == {"schema": 1, "state": "Failed", "failure": told}
    assert pushed["result"]["failure"] == told


def test_a_command_that_says_why_it_failed_is_not_spoken_over(run: Any) -> None:
    script = (
        "import json, os, sys; json.dump({'failure': {'reason': 'Drift', 'message': 'too much'}},"
        " open(os.environ['LOG'], 'w')); sys.exit(1)"
    )
    pushed = run(script)
    assert str(pushed["raised"]) == "Drift: too much"
    assert json.loads(pushed["told"]) == {"failure": {"reason": "Drift", "message": "too much"}}
