import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlpipeline_trainer import presets, runner, settings
from mlpipeline_trainer.errors import TABLE, ExitCode, UsageError, describe_exit_codes

ROOT = Path(__file__).resolve().parents[3] / "trainer"


def run(cwd: Path, *args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {n: v for n, v in os.environ.items() if not n.startswith("MLP_")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "mlpipeline_trainer", *args],
        cwd=cwd,
        env={**clean, "PYTHONPATH": str(ROOT), "MLP_TERMINATION_LOG": "log", **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text())
    return document


REFUSED = {
    "nothing to run": ((), {}, "Usage", "nothing to run: give --entrypoint"),
    "unknown data set": ((), {"MLP_DATASET": "mnits"}, "Usage", "'mnits'; did you mean mnist?"),
    "unknown parameter": (
        ("--preset", "mnist", "-p", "epoch=1"), {}, "BadParameter", "'epoch'; did you mean epochs?",
    ),
    "wrong type": (
        (), {"MLP_DATASET": "mnist", "MLP_PARAM_LR": "fast"},
        "BadParameter", "lr='fast' must be a finite number",
    ),
    "no such script": (("--entrypoint", "train.py"), {}, "BadEntrypoint", "train.py: no such file"),
    "no such module": ((), {"MLP_ENTRYPOINT": "nope:main"}, "BadEntrypoint", "there is no module nope"),
    "wrong variable": ((), {"MLP_DATASET": "mnist", "MLP_ATTEMPT": "x"}, "Usage", "MLP_ATTEMPT='x' must be"),
    "two places for data": (
        (), {"MLP_ENTRYPOINT": "a:b", "MLP_DATASET": "mnist", "MLP_DATA_URI": "/d"}, "Usage", "give one",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_ends_with_code_2_and_says_why_everywhere(tmp_path: Path, case: str) -> None:
    args, environ, reason, words = REFUSED[case]
    done = run(tmp_path, "run", *args, **environ)
    assert done.returncode == ExitCode.USAGE, done.stderr
    assert words in done.stderr
    for name in ("result.json", "log"):
        document = read(tmp_path / name)
        assert document["state"] == "Failed"
        assert document["failure"]["reason"] == reason
        assert words in document["failure"]["message"]
        assert document["failure"]["exitCode"] == 2
        assert document["failure"]["retryable"] is False


def test_a_bare_script_that_is_not_there_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, "train.py", "--lr", "1")
    assert done.returncode == ExitCode.USAGE
    assert read(tmp_path / "result.json")["failure"]["reason"] == "BadEntrypoint"


def test_data_that_is_not_there_ends_with_code_3_before_tensorflow_is_loaded(tmp_path: Path) -> None:
    done = run(tmp_path, "run", "--preset", "mnist", "--data-uri", "/no/such/data")
    assert done.returncode == ExitCode.DATA
    assert read(tmp_path / "result.json")["failure"]["message"] == "/no/such/data: no such file or directory"
    assert "loading TensorFlow" not in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["log", "result.json"]


def test_an_earlier_runs_result_does_not_outlive_the_start(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"state": "Succeeded", "metrics": {"val_accuracy": "0.99"}}')
    run(tmp_path, "run", "--preset", "mnist", "--data-uri", "/no/such/data")
    document = read(tmp_path / "result.json")
    assert document["state"] == "Failed"
    assert document["metrics"] == {}


def test_a_folder_that_cannot_be_created_is_named_with_its_variable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run(tmp_path, "run", "--preset", "mnist", "--model-dir", "file/model")
    assert done.returncode == ExitCode.USAGE
    assert (
        f"MLP_MODEL_DIR: {tmp_path}/file/model cannot be created"
        in read(tmp_path / "log")["failure"]["message"]
    )


def test_a_result_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run(tmp_path, "run", "--preset", "mnist", "--result-file", "file/result.json")
    assert done.returncode == ExitCode.USAGE
    assert "result.json cannot be written" in done.stderr


def test_an_option_goes_before_its_variable(tmp_path: Path) -> None:
    run(tmp_path, "run", "--entrypoint", "gone.py", "--result-file", "mine", MLP_RESULT_FILE="theirs")
    assert sorted(os.listdir(tmp_path)) == ["log", "mine"]


def test_the_light_parts_import_neither_tensorflow_nor_numpy_nor_the_operator() -> None:
    code = (
        "import sys, mlpipeline_trainer.cli, mlpipeline_trainer.runner\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'fsspec', 'mlpipeline_operator'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_help_names_every_variable_and_every_exit_code(tmp_path: Path) -> None:
    printed = run(tmp_path, "run", "--help").stdout
    assert all(name in printed for name in settings.VARIABLES)
    assert all(f"  {int(code)}  " in printed for code in ExitCode)


def test_the_presets_are_listed_with_their_parameters_and_defaults(tmp_path: Path) -> None:
    printed = run(tmp_path, "presets").stdout
    for spec in presets.PRESETS["mnist"].specs:
        assert spec.name in printed
    assert "learning_rate, lr" in printed


@pytest.mark.parametrize("args", [(), ("trian",), ("run", "--nope")])
def test_a_wrong_command_line_ends_with_code_2_and_the_usage(tmp_path: Path, args: tuple[str, ...]) -> None:
    done = run(tmp_path, *args)
    assert done.returncode == 2
    assert "usage: python -m mlpipeline_trainer" in done.stderr


def test_the_table_of_exit_codes_is_complete() -> None:
    assert set(TABLE) == set(ExitCode)
    reasons = [reason for row in TABLE.values() for reason in row.reasons]
    assert len(reasons) == len(set(reasons))
    assert len(describe_exit_codes().splitlines()) == len(ExitCode)
    for error in _all_subclasses(UsageError.__mro__[1]):
        assert error.reason in TABLE[error.code].reasons


def _all_subclasses(kind: Any) -> list[Any]:
    return [kind, *(found for sub in kind.__subclasses__() for found in _all_subclasses(sub))]


def test_a_preset_goes_before_an_entrypoint_and_that_before_a_data_set(tmp_path: Path) -> None:
    (tmp_path / "train.py").touch()
    both = settings.from_env({"MLP_ENTRYPOINT": str(tmp_path / "train.py"), "MLP_DATASET": "mnist"}, tmp_path)
    assert runner.choose(both).entrypoint is not None
    assert runner.choose(both, preset="mnist").preset is presets.PRESETS["mnist"]
    dataset = settings.from_env({"MLP_DATASET": "mnist"}, tmp_path)
    assert runner.choose(dataset).preset is presets.PRESETS["mnist"]
