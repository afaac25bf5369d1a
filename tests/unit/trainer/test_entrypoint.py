import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlpipeline_trainer import context, entrypoint, settings
from mlpipeline_trainer.context import Context
from mlpipeline_trainer.errors import EntrypointError, ParameterError
from mlpipeline_trainer.reporter import Recorder


@pytest.fixture
def ctx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "argv", ["x"])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    read = settings.from_env({"MLP_PARAMETERS": '{"lr": "0.5", "epochs": "2"}'}, tmp_path)
    yield context.make(read, Recorder(), tmp_path / "data")
    for name in set(sys.modules) - before:
        if name.startswith("usercode"):
            del sys.modules[name]


def write(tmp_path: Path, source: str, name: str = "usercode") -> str:
    (tmp_path / f"{name}.py").write_text(source)
    return f"{name}:main"


def test_a_function_without_arguments_is_called_and_its_value_returned(ctx: Context, tmp_path: Path) -> None:
    parsed = entrypoint.parse(write(tmp_path, "def main():\n    return {'acc': 1}\n"))
    assert entrypoint.run(parsed, ctx) == {"acc": 1}


def test_a_function_with_an_argument_gets_the_context(ctx: Context, tmp_path: Path) -> None:
    source = (
        "def main(c, extra=None):\n    return c.param('lr', 0.1), c.param('epochs', 1), c.param('no', 'x')\n"
    )
    assert entrypoint.run(entrypoint.parse(write(tmp_path, source)), ctx) == (0.5, 2, "x")


def test_a_method_of_a_class_can_be_the_entrypoint(ctx: Context, tmp_path: Path) -> None:
    write(tmp_path, "class A:\n    @staticmethod\n    def go():\n        return 7\n")
    assert entrypoint.run(entrypoint.parse("usercode:A.go"), ctx) == 7


def test_what_is_reported_through_the_context_is_recorded(ctx: Context, tmp_path: Path) -> None:
    source = "def main(ctx):\n    ctx.report({'auc': 0.5}, loss=2)\n"
    entrypoint.run(entrypoint.parse(write(tmp_path, source)), ctx)
    assert ctx.recorder.snapshot().metrics == {"auc": "0.5", "loss": "2"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train", "must be module:function or a script ending in .py"),
        ("a b:main", "must be module:function"),
        ("usercode:", "must be module:function"),
        ("nowhere.train:main", "there is no module nowhere"),
        ("nowhere.py", r"entrypoint nowhere.py: no such file \(working directory:"),
    ],
)
def test_an_entrypoint_that_cannot_be_is_refused_before_anything_runs(
    ctx: Context, text: str, words: str
) -> None:
    with pytest.raises(EntrypointError, match=words):
        entrypoint.parse(text)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def man(): pass\n", "usercode.py has no main"),
        ("main = 3\n", "is a int, not a function"),
        ("def main(a, b): pass\n", "takes a, b; it must take nothing, or one argument"),
        ("def main(*, lr): pass\n", "takes lr; it must take nothing, or one argument"),
    ],
)
def test_a_function_that_cannot_be_called_is_refused(
    ctx: Context, tmp_path: Path, source: str, words: str
) -> None:
    parsed = entrypoint.parse(write(tmp_path, source))
    with pytest.raises(EntrypointError, match=words):
        entrypoint.run(parsed, ctx)


def test_a_submodule_that_is_not_there_is_a_bad_entrypoint(ctx: Context, tmp_path: Path) -> None:
    (tmp_path / "usercodepkg").mkdir()
    parsed = entrypoint.parse("usercodepkg.train:main")
    with pytest.raises(EntrypointError, match=r"No module named 'usercodepkg.train'"):
        entrypoint.run(parsed, ctx)


def test_a_library_that_the_users_module_lacks_is_the_users_error(ctx: Context, tmp_path: Path) -> None:
    parsed = entrypoint.parse(write(tmp_path, "import no_such_library\n"))
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        entrypoint.run(parsed, ctx)


def test_a_script_runs_as_main_with_the_parameters_as_arguments(ctx: Context, tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("NAME = 'helper'\n")
    (tmp_path / "train.py").write_text(
        "import sys, helper\nfrom pathlib import Path\nif __name__ == '__main__':\n"
        "    Path('seen').write_text(' '.join([helper.NAME, *sys.argv[1:]]))\n"
    )
    entrypoint.run(entrypoint.parse("train.py"), ctx)
    assert (tmp_path / "seen").read_text() == "helper --lr 0.5 --epochs 2"


def test_a_script_started_by_hand_gets_its_own_arguments(ctx: Context, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "import sys, pathlib\npathlib.Path('seen').write_text(repr(sys.argv[1:]))\nsys.exit(0)\n"
    )
    entrypoint.run(entrypoint.parse("train.py", ["-v", "file"]), ctx)
    assert (tmp_path / "seen").read_text() == "['-v', 'file']"


def test_a_script_that_exits_with_a_status_fails(ctx: Context, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import sys\nsys.exit(3)\n")
    with pytest.raises(SystemExit, match="3"):
        entrypoint.run(entrypoint.parse("train.py"), ctx)


def test_a_wrong_parameter_type_names_the_parameter(ctx: Context) -> None:
    assert ctx.params.get_as("lr", float) == 0.5
    with pytest.raises(ParameterError, match=r"parameter lr='0.5' must be an integer"):
        ctx.param("lr", 3)


def test_outside_of_a_run_the_context_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLP_PARAM_LR", "0.25")
    context.activate(None)
    try:
        made = context.current()
        assert made.params.get_as("lr", float) == 0.25
        assert made.model_dir == tmp_path / "model"
        context.report(auc=0.5)
        assert context.current().recorder.snapshot().metrics == {"auc": "0.5"}
    finally:
        context.activate(None)
