"""The function that a rendered DAG runs in a worker: a real child process, real files."""

from __future__ import annotations

import json
import logging
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from tests.airflow.pipelines import pipeline, write_dag

RESULT = {"schema": 1, "state": "Succeeded", "metrics": {"val_accuracy": "0.98"}}


@dataclass
class TaskInstance:
    """As much of Airflow's as the function uses."""

    try_number: int = 1
    pushed: dict[str, Any] = field(default_factory=dict)

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


class Training:
    """A DAG whose trainer is a script of the test's."""

    def __init__(self, folder: Path, script: str) -> None:
        trainer = folder / "trainer"
        trainer.write_text(f"#!{sys.executable}\nimport json, os, signal, sys, time\n{script}\n")
        trainer.chmod(stat.S_IRWXU)
        self.module = ModuleType("rendered_dag")
        text = write_dag(folder, pipeline(python=str(trainer))).read_text()
        exec(compile(text, "dag.py", "exec"), self.module.__dict__)
        self.ti = TaskInstance()

    def run(self, conf: dict[str, Any] | None = None) -> None:
        parameters = (conf or {}).get("parameters", {})
        step = self.module.STEPS[0]
        self.module.run_training(
            step["name"],
            step["command"],
            step["environment"],
            ti=self.ti,
            dag_run=DagRun(conf or {}),
            run_id="manual__2026-11-22T20:00:00+00:00",
            params={"parameters": self.module.PARAMETERS | parameters},
        )


@dataclass
class DagRun:
    conf: dict[str, Any]


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("MLP_LOG_FD", raising=False)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def writes(result: dict[str, Any], exit_code: int = 0) -> str:
    return f"open(os.environ['MLP_RESULT_FILE'], 'w').write({json.dumps(result)!r}); sys.exit({exit_code})"


def test_metrics_and_the_whole_result_are_pushed(tmp_path: Path) -> None:
    training = Training(tmp_path, writes(RESULT))
    training.run()
    assert training.ti.pushed == {"metrics": {"val_accuracy": "0.98"}, "result": RESULT}


def test_the_training_gets_its_contract_and_none_of_airflows_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")
    monkeypatch.setenv("TOKEN", "mine")
    script = f"json.dump([sys.argv[1:], dict(os.environ)], open({str(tmp_path / 'seen')!r}, 'w'));" + writes(
        RESULT
    )
    Training(tmp_path, script).run({"run": {"name": "mnist-7", "uid": "u"}, "parameters": {"epochs": 9}})
    arguments, seen = json.loads((tmp_path / "seen").read_text())
    assert arguments == ["-m", "mlpipeline_trainer", "run"]
    assert json.loads(seen["MLP_PARAMETERS"]) == {"epochs": "9"}
    assert (
        seen.items()
        >= {
            "MLP_PARAM_EPOCHS": "9",
            "MLP_DATASET": "mnist",
            "MLP_STEP": "train",
            "MLP_RUN_NAME": "mnist-7",
            "MLP_ATTEMPT": "1",
            "MLP_MODEL_DIR": "/mlp/artifacts/team-a/mnist/mnist-7/model",
            "MLP_MODEL_URI": "pvc://airflow-default-artifacts/team-a/mnist/mnist-7/model",
            "MLP_CHECKPOINT_DIR": "/mlp/artifacts/team-a/mnist/mnist-7/checkpoints-c5302c8f",
            "TOKEN": "mine",
        }.items()
    )
    assert not [name for name in seen if "AIRFLOW_" in name]


def test_a_run_finds_its_own_checkpoints_and_not_those_of_a_deleted_one_of_its_name(tmp_path: Path) -> None:
    module = Training(tmp_path, "").module

    def checkpoints(run_id: str, attempt: int) -> str:
        run = SimpleNamespace(conf={"run": {"name": "mnist-1"}})
        task = SimpleNamespace(try_number=attempt)
        context = {"dag_run": run, "run_id": run_id, "ti": task, "params": {"parameters": {}}}
        return str(module.contract("train", tmp_path, context)["MLP_CHECKPOINT_DIR"])

    assert checkpoints("mnist-1.first", 1) == checkpoints("mnist-1.first", 2)
    assert checkpoints("mnist-1.first", 1) != checkpoints("mnist-1.second", 1)


@pytest.mark.parametrize(
    ("conf", "name"),
    [
        ({"run": {"name": "mnist-7"}}, "mnist-7"),
        ({"run": {"name": "../../etc"}}, "etc"),
        ({}, "manual__2026-11-22T20-00-00-00-00"),
        (None, "manual__2026-11-22T20-00-00-00-00"),
    ],
)
def test_a_runs_folder_has_a_plain_name(tmp_path: Path, conf: dict[str, Any] | None, name: str) -> None:
    module = Training(tmp_path, "").module
    assert module.run_name(conf, "manual__2026-11-22T20:00:00+00:00") == name


def test_output_reaches_the_tasks_log_line_by_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mlpipelines.training")
    Training(
        tmp_path, "print('Epoch 1/3'); print('warn', file=sys.stderr, flush=True);" + writes(RESULT)
    ).run()
    assert {record.getMessage() for record in caplog.records} >= {"Epoch 1/3", "warn"}


def test_output_reaches_the_pods_log_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "pod.log").open("wb") as pod_log:
        monkeypatch.setenv("MLP_LOG_FD", str(pod_log.fileno()))
        script = "sys.stdout.buffer.write(b'Epoch 1/3\\n\\xff\\nno line end'); sys.stdout.flush();"
        Training(tmp_path, script + writes(RESULT)).run()
    assert (tmp_path / "pod.log").read_bytes() == b"Epoch 1/3\n\xff\nno line end"


def test_a_log_that_stalls_does_not_hold_the_training_up(tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    # Far more than a pipe holds.
    script = f"[print('x' * 1000) for _ in range(1000)]; open({str(ended)!r}, 'w').close();" + writes(RESULT)
    stalled = threading.Event()

    class Stalling(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            stalled.wait(60)

    log = logging.getLogger("mlpipelines.training")
    handler = Stalling()
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    watcher = threading.Thread(target=lambda: (_wait_for(ended), stalled.set()))
    watcher.start()
    try:
        Training(tmp_path, script).run()
    finally:
        stalled.set()
        watcher.join()
        log.removeHandler(handler)
    assert ended.exists()


def _wait_for(path: Path) -> None:
    end = time.monotonic() + 50
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert path.exists(), "the training waits for the log"


@pytest.mark.parametrize("exit_code", [2, 6])
def test_a_failure_that_would_only_come_again_is_not_tried_again(tmp_path: Path, exit_code: int) -> None:
    failure = {"reason": "ParameterError", "message": "epochs=x is no number", "exitCode": exit_code}
    result = {"schema": 1, "state": "Failed", "metrics": {}, "failure": failure}
    training = Training(tmp_path, writes(result, exit_code))
    with pytest.raises(AirflowFailException, match="ParameterError: epochs=x is no number"):
        training.run()
    assert training.ti.pushed["result"] == result


def test_any_other_failure_is_an_ordinary_one_with_its_cause(tmp_path: Path) -> None:
    failure = {"reason": "ValueError", "message": "boom (train.py:3)", "exitCode": 1}
    result = {"schema": 1, "state": "Failed", "metrics": {}, "failure": failure}
    with pytest.raises(RuntimeError, match=r"ValueError: boom \(train.py:3\)"):
        Training(tmp_path, writes(result, 1)).run()


def test_a_training_that_was_killed_left_no_result_and_still_has_a_cause(tmp_path: Path) -> None:
    training = Training(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(RuntimeError, match=r"^(Killed|OOMKilled): "):
        training.run()
    assert training.ti.pushed["result"]["failure"]["exitCode"] == 137


def test_an_exit_without_a_result_is_a_failure_even_with_code_0(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="exit code 0, and no result"):
        Training(tmp_path, "pass").run()


def test_a_process_that_fails_after_its_last_word_has_trained(tmp_path: Path) -> None:
    """TensorFlow may still crash while it takes itself down: the model is there, the checkpoints are gone."""
    training = Training(tmp_path, writes(RESULT, 139))
    training.run()
    assert training.ti.pushed["result"]["state"] == "Succeeded"


def test_what_a_training_leaves_running_does_not_keep_its_pod(tmp_path: Path) -> None:
    leaves = "import subprocess; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    training = Training(tmp_path, f"{leaves}\n{writes(RESULT, 0)}")
    began = time.monotonic()
    training.run()
    assert time.monotonic() - began < 300
    assert training.ti.pushed["result"]["state"] == "Succeeded"


def test_an_image_without_the_trainer_says_so(tmp_path: Path) -> None:
    training = Training(tmp_path, "")
    (tmp_path / "trainer").unlink()
    with pytest.raises(AirflowFailException, match=f"the step's image has no {tmp_path}/trainer"):
        training.run()


def test_sigterm_is_passed_on_and_the_last_word_is_kept(tmp_path: Path) -> None:
    failure = {"reason": "Terminated", "message": "terminated by SIGTERM", "exitCode": 143}
    result = {"schema": 1, "state": "Failed", "metrics": {"loss": "0.3"}, "failure": failure}
    started = tmp_path / "started"
    script = (
        f"signal.signal(signal.SIGTERM, lambda *_: ({writes(result, 143).replace('; ', ', ')}));"
        f"open({str(started)!r}, 'w').close(); time.sleep(60)"
    )
    training = Training(tmp_path, script)
    killer = threading.Thread(target=lambda: (_wait_for(started), os.kill(os.getpid(), signal.SIGTERM)))
    killer.start()
    with pytest.raises(RuntimeError, match="Terminated"):
        training.run()
    killer.join()
    assert training.ti.pushed["metrics"] == {"loss": "0.3"}


def test_the_rendered_file_is_plain_python(tmp_path: Path) -> None:
    path = write_dag(tmp_path, pipeline())
    done = subprocess.run([sys.executable, "-W", "error", "-m", "py_compile", str(path)], check=False)
    assert done.returncode == 0
