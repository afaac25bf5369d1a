from pathlib import Path

import pytest

from mlpipeline_trainer import settings
from mlpipeline_trainer.errors import UsageError


def test_without_variables_everything_lies_below_the_working_directory(tmp_path: Path) -> None:
    read = settings.from_env({}, tmp_path)
    assert (read.data_dir, read.model_dir) == (tmp_path / "data", tmp_path / "model")
    assert (read.checkpoint_dir, read.result_file) == (tmp_path / "checkpoints", tmp_path / "result.json")
    assert read.model_uri is None
    assert read.attempt == 1
    assert not read.expect_gpu


def test_relative_paths_become_absolute_and_empty_variables_count_as_unset(tmp_path: Path) -> None:
    read = settings.from_env({"MLP_MODEL_DIR": "out/m", "MLP_DATA_DIR": "/d", "MLP_MODEL_URI": " "}, tmp_path)
    assert read.model_dir == tmp_path / "out/m"
    assert read.data_dir == Path("/d")
    assert read.model_uri is None


def test_an_empty_termination_log_means_none(tmp_path: Path) -> None:
    assert settings.from_env({"MLP_TERMINATION_LOG": ""}, tmp_path).termination_log is None
    assert settings.from_env({"MLP_TERMINATION_LOG": "t"}, tmp_path).termination_log == tmp_path / "t"


def test_the_kubelets_termination_log_is_used_if_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "TERMINATION_LOG", tmp_path / "log")
    assert settings.from_env({}, tmp_path).termination_log is None
    (tmp_path / "log").touch()
    assert settings.from_env({}, tmp_path).termination_log == tmp_path / "log"


@pytest.mark.parametrize(
    ("text", "flag"), [("1", True), ("true", True), ("0", False), ("", False), ("No", False)]
)
def test_a_flag_is_read(text: str, flag: bool) -> None:
    assert settings.from_env({"MLP_EXPECT_GPU": text}).expect_gpu is flag


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"MLP_EXPECT_GPU": "maybe"}, "MLP_EXPECT_GPU='maybe' must be 1 or 0"),
        ({"MLP_ATTEMPT": "0"}, "MLP_ATTEMPT='0' must be a whole number from 1"),
        ({"MLP_ATTEMPT": "two"}, "MLP_ATTEMPT='two' must be"),
        ({"MLP_OBJECTIVE_GOAL": "max"}, "MLP_OBJECTIVE_GOAL='max' must be one of Maximize, Minimize"),
        ({"MLP_PARAMETERS": "x"}, "MLP_PARAMETERS is not JSON"),
    ],
)
def test_a_wrong_value_names_its_variable(environ: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        settings.from_env(environ)
