import hashlib
import os

import keras
import pytest

from .conftest import MODEL, Folder

RETURNS: dict[str, tuple[str, dict[str, str], bool]] = {
    "nothing": ("model.fit(x, y, verbose=0)", {}, False),
    "a model": ("model.fit(x, y, verbose=0)\n    return model", {}, True),
    "metrics": ("return {'auc': 0.75, 'n': 3}", {"auc": "0.75", "n": "3"}, False),
    "both": ("return model, {'auc': np.float32(0.75)}", {"auc": "0.75"}, True),
    "what fit returns": ("return model.fit(x, y, verbose=0)", {}, True),
}


@pytest.mark.parametrize("what", RETURNS)
def test_a_function_may_return_model_or_metrics_or_both_or_nothing(folder: Folder, what: str) -> None:
    body, metrics, saved = RETURNS[what]
    folder.write("usercode.py", f"{MODEL}\ndef train(ctx):\n    model = make()\n    {body}\n")
    assert folder.run("run", "--entrypoint", "usercode:train") == 0
    result = folder.result()
    assert metrics.items() <= result["metrics"].items()
    assert ("model" in result) is saved
    if saved:
        assert keras.saving.load_model(result["model"]["uri"]).count_params() == 4
    else:
        assert result["warnings"] == ["no model was saved: return it, or save it below MLP_MODEL_DIR"]


def test_anything_else_that_is_returned_is_named_in_a_warning(folder: Folder) -> None:
    folder.write("usercode.py", "def train():\n    return 'done'\n")
    assert folder.run("run", "--entrypoint", "usercode:train") == 0
    assert "the entrypoint returned a str: neither a model" in folder.result()["warnings"][0]


def test_a_function_gets_typed_parameters_and_its_folders(folder: Folder) -> None:
    folder.write(
        "usercode.py",
        "def train(c):\n    c.report(lr=c.param('lr', 0.1), n=len(list(c.data_dir.iterdir())))\n",
    )
    (folder.path / "in").mkdir()
    folder.write("in/a.csv", "1")
    assert folder.run("run", "--entrypoint", "usercode:train", "-p", "lr=0.5", "--data-uri", "in") == 0
    assert folder.result()["metrics"] == {"lr": "0.5", "n": "1"}


def test_a_script_saves_by_itself_and_several_files_have_one_digest(folder: Folder) -> None:
    source = "import os, pathlib\nm = pathlib.Path(os.environ['MLP_MODEL_DIR'])\n"
    source += "(m / 'assets').mkdir()\n(m / 'b').write_text('2')\n(m / 'assets' / 'a').write_text('1')\n"
    folder.write("train.py", source)
    assert folder.run("train.py") == 0
    model = folder.result()["model"]
    lines = "".join(f"{hashlib.sha256(c).hexdigest()}  {n}\n" for n, c in (("assets/a", b"1"), ("b", b"2")))
    assert model["digest"] == f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"
    assert (model["uri"], model["bytes"]) == (str(folder.path / "model"), 2)


def test_a_script_sees_arguments_environment_and_context_alike(folder: Folder) -> None:
    source = """
import argparse, os, mlpipeline_trainer
parser = argparse.ArgumentParser()
parser.add_argument("--learning-rate", type=float)
parser.add_argument("--epochs", type=int)
args = parser.parse_args()
context = mlpipeline_trainer.current()
assert args.learning_rate == 0.5 == context.param("learning-rate", 0.1)
assert os.environ["MLP_PARAM_LEARNING_RATE"] == "0.5"
assert args.epochs == 2
mlpipeline_trainer.report(ok=1)
"""
    folder.write("train.py", source)
    os.environ["MLP_PARAMETERS"] = '{"learning-rate": "0.1", "epochs": "2"}'
    assert folder.run("train.py", "--learning-rate", "0.5") == 0
    assert folder.result()["metrics"] == {"ok": "1"}


def test_a_model_of_an_earlier_run_in_the_same_folder_is_not_this_runs(folder: Folder) -> None:
    (folder.path / "model").mkdir()
    folder.write("model/model.keras", "of an earlier run")
    folder.write("usercode.py", "def train():\n    return {'a': 1}\n")
    assert folder.run("run", "--entrypoint", "usercode:train") == 0
    assert "model" not in folder.result()


def test_a_model_that_an_earlier_attempt_saved_is_the_runs(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder.path / "model").mkdir()
    folder.write("model/older", "of an earlier run")
    source = "import os, pathlib\nm = pathlib.Path(os.environ['MLP_MODEL_DIR'])\n"
    folder.write("train.py", source + "(m / 'a').write_text('1')\nraise OSError('the disk is full')\n")
    assert folder.run("train.py") == 1
    folder.write("model/.7.model.keras", "half of a model")
    folder.write("train.py", source + "(m / 'b').write_text('2')\n")
    monkeypatch.setenv("MLP_ATTEMPT", "2")
    assert folder.run("train.py") == 0
    lines = "".join(f"{hashlib.sha256(c).hexdigest()}  {n}\n" for n, c in (("a", b"1"), ("b", b"2")))
    assert folder.result()["model"]["digest"] == f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"
    assert sorted(path.name for path in (folder.path / "model").iterdir()) == ["a", "b", "older"]


def test_a_model_that_cannot_be_saved_ends_with_code_4(folder: Folder) -> None:
    source = (
        f"{MODEL}\nclass Own(keras.layers.Layer):\n    def __init__(self, f):\n        super().__init__()\n"
    )
    source += "    def get_config(self):\n        raise RuntimeError('no config')\n"
    source += "def train():\n    return keras.Sequential([keras.layers.Input((3,)), Own(1)])\n"
    folder.write("usercode.py", source)
    assert folder.run("run", "--entrypoint", "usercode:train") == 4
    failure = folder.result()["failure"]
    assert failure["reason"] == "ModelError"
    assert "RuntimeError: no config" in failure["message"]
    assert list((folder.path / "model").iterdir() if (folder.path / "model").exists() else []) == []
