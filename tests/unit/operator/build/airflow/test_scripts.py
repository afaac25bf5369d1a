"""The scripts run as in a pod, as processes of their own; around them stand-ins for Airflow's modules."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlpipeline_operator.build.airflow import scripts

FOLDER = Path(scripts.__file__).parent

# What health.py asks of psycopg2; the database's answer comes in ROW, "away" for none.
PSYCOPG2 = """
import os
class Error(Exception): pass
class Cursor:
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def execute(self, sql, values=()):
        assert sql.count("%s") == len(values) and (not values or values[1] == "TriggererJob"), (sql, values)
        empty = os.environ["ROW"] == "empty"
        assert not (empty and values), "asked for what is not there"
        self.row = eval(os.environ["ROW"]) if values else (None,) if empty else ("job",)
    def fetchone(self): return self.row
class Connection(Cursor):
    def cursor(self): return Cursor()
def connect(url, connect_timeout):
    assert url == "postgresql://user:secret@host/db", url
    if os.environ["ROW"] == "away": raise Error("connection refused")
    return Connection()
"""


def put(root: Path, module: str, text: str) -> None:
    path = root / (module.replace(".", "/") + ".py")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def start(root: Path, script: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(FOLDER / f"{script}.py"), *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(root), "PYTHONUNBUFFERED": "1", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize(
    ("row", "ready", "alive"),
    [("(True,)", 0, 0), ("(False,)", 1, 1), ("None", 1, 1), ("empty", 1, 1), ("away", 1, 0)],
    ids=["beats", "beats no more", "never beat", "no tables yet", "the database is away"],
)
def test_a_component_is_ready_while_its_heart_beats_and_lives_on_without_a_database(
    tmp_path: Path, row: str, ready: int, alive: int
) -> None:
    put(tmp_path, "psycopg2", PSYCOPG2)
    url = "postgresql+psycopg2://user:secret@host/db"
    for arguments, expected in (["TriggererJob"], ready), (["TriggererJob", "--alive"], alive):
        probe = start(tmp_path, "health", *arguments, ROW=row, AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=url)
        output, _ = probe.communicate(timeout=30)
        assert probe.returncode == expected, output
        assert "Traceback" not in output
        assert "secret" not in output


def test_a_component_imports_then_waits_for_the_database_then_runs(tmp_path: Path) -> None:
    put(tmp_path, "airflow.cli.commands.dag_processor_command", "print('imported')")
    put(tmp_path, "mlpipeline_dags.setup", "import sys; print('waited', *sys.argv[1:])")
    put(tmp_path, "airflow.__main__", "import sys\ndef main(): print('ran', *sys.argv)")
    output, _ = start(tmp_path, "start", "dag-processor").communicate(timeout=30)
    assert output.splitlines() == ["imported", "waited --wait", "ran airflow dag-processor"]


API = """
class Api:
    built = 0
    def {name}(self): self.built += 1
create_task_execution_api_app = Api
"""


@pytest.mark.parametrize(("name", "built"), [("_cadwyn_initialize", 1), ("renamed", 0)])
def test_the_api_server_builds_what_tasks_report_to_before_it_runs_if_it_knows_how(
    tmp_path: Path, name: str, built: int
) -> None:
    put(tmp_path, "airflow.cli.commands.api_server_command", "")
    for part in ("core_api.routes.public", "core_api.routes.ui", "execution_api.routes"):
        put(tmp_path, f"airflow.api_fastapi.{part}", "")
    for part in ("auth_manager.fab_auth_manager", "www.app"):
        put(tmp_path, f"airflow.providers.fab.{part}", "")
    put(tmp_path, "airflow.api_fastapi.app", API.format(name=name))
    put(tmp_path, "mlpipeline_dags.setup", "")
    run = "from airflow.api_fastapi import app\ndef main(): print(app.create_task_execution_api_app().built)"
    put(tmp_path, "airflow.__main__", run)
    output, _ = start(tmp_path, "start", "api-server").communicate(timeout=30)
    assert output == f"{built}\n"


def test_a_component_does_not_run_when_the_database_never_was_set_up(tmp_path: Path) -> None:
    put(tmp_path, "airflow.cli.commands.triggerer_command", "")
    put(tmp_path, "mlpipeline_dags.setup", "raise SystemExit('the database is not set up after 600 s')")
    put(tmp_path, "airflow.__main__", "def main(): print('ran')")
    process = start(tmp_path, "start", "triggerer")
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert output == "the database is not set up after 600 s\n"


def test_a_component_that_still_waits_ends_at_once_when_it_is_told_to(tmp_path: Path) -> None:
    put(tmp_path, "airflow.cli.commands.triggerer_command", "")
    put(tmp_path, "mlpipeline_dags.setup", "import time; print('waiting', flush=True); time.sleep(60)")
    process = start(tmp_path, "start", "triggerer")
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 128 + signal.SIGTERM
    process.stdout.close()
