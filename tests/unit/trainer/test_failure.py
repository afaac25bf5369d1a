import sys
from pathlib import Path

import pytest

from mlpipeline_trainer import failure, idx
from mlpipeline_trainer.errors import DataError, ParameterError, Terminated
from mlpipeline_trainer.params import Parameters


def raised(source: str, path: Path, **names: object) -> BaseException:
    """Runs `source` as if it stood in the file `path`, and returns what it raises."""
    path.write_text(source)
    try:
        exec(compile(source, str(path), "exec"), {"__name__": "user", **names})
    except BaseException as error:
        # The frame of this file is no user's.
        return error.with_traceback(error.__traceback__.tb_next if error.__traceback__ else None)
    raise AssertionError("raised nothing")


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_an_exception_gives_type_message_file_and_line(tmp_path: Path) -> None:
    error = raised("\nraise ValueError('bad lr')\n", tmp_path / "train.py")
    found = failure.from_exception(error)
    assert found.message == "ValueError: bad lr (train.py:2)"
    assert (found.reason, found.exit_code, found.retryable) == ("Exception", 1, True)


def test_the_place_is_the_users_innermost_line_not_the_librarys(tmp_path: Path) -> None:
    source = "import json\ndef load():\n    return json.loads('{')\nload()\n"
    message = failure.from_exception(raised(source, tmp_path / "train.py")).message
    assert message.startswith("json.decoder.JSONDecodeError: Expecting property name")
    assert message.endswith("(train.py:3)")


def test_the_place_is_never_the_trainers_own_where_the_user_called_it(tmp_path: Path) -> None:
    error = raised("find('x', 'y')\n", tmp_path / "train.py", find=idx.find)
    assert failure.from_exception(error).message.endswith("(train.py:1)")


def test_without_any_code_of_the_users_it_is_the_trainers_error() -> None:
    try:
        idx.find("folder", "x")  # type: ignore[arg-type]
    except TypeError as error:
        found = failure.from_exception(error.with_traceback(error.__traceback__.tb_next))  # type: ignore[union-attr]
    assert (found.reason, found.exit_code) == ("Internal", 70)
    assert "(mlpipeline_trainer/idx.py:" in found.message


def test_code_installed_like_a_library_is_the_users_if_it_holds_the_entrypoint(tmp_path: Path) -> None:
    package = tmp_path / "lib" / "site-packages" / "churn"
    package.mkdir(parents=True)
    error = raised("raise KeyError('age')\n", package / "train.py")
    assert failure.from_exception(error).reason == "Internal"
    found = failure.from_exception(error, [package])
    assert found.reason == "Exception"
    assert found.message == "KeyError: 'age' (lib/site-packages/churn/train.py:1)"


def test_a_syntax_error_names_its_own_line(tmp_path: Path) -> None:
    message = failure.from_exception(raised("a = 1\nb = = 2\n", tmp_path / "train.py")).message
    assert message == "SyntaxError: invalid syntax (train.py:2)"


def test_a_bare_assertion_shows_what_did_not_hold(tmp_path: Path) -> None:
    message = failure.from_exception(raised("n = 0\nassert n > 0\n", tmp_path / "train.py")).message
    assert message == "AssertionError: assert n > 0 (train.py:2)"


def test_the_cause_that_was_given_is_named(tmp_path: Path) -> None:
    source = "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise RuntimeError('no batch') from e\n"
    message = failure.from_exception(raised(source, tmp_path / "train.py")).message
    assert message == "RuntimeError: no batch; caused by ZeroDivisionError: division by zero (train.py:4)"


def test_a_message_of_many_lines_becomes_one_line_without_colours(tmp_path: Path) -> None:
    source = (
        "raise ValueError('one\\n\\n\\x1b[1mtwo\\x1b[0m\\n\\nArguments received by Dense.call():\\n  x')\n"
    )
    assert failure.from_exception(raised(source, tmp_path / "t.py")).message == "ValueError: one two (t.py:1)"


def test_a_huge_message_is_cut_in_the_middle_and_keeps_its_place(tmp_path: Path) -> None:
    message = failure.from_exception(raised("raise ValueError('x' * 100_000)\n", tmp_path / "t.py")).message
    assert len(message.encode()) <= 2000
    assert message.startswith("ValueError: xxx")
    assert message.endswith("x (t.py:1)")


@pytest.mark.parametrize(
    ("source", "reason", "code", "message"),
    [
        ("raise SystemExit(3)", "Exit", 1, "SystemExit: 3 (t.py:1)"),
        ("raise SystemExit('no data')", "Exit", 1, "SystemExit: no data (t.py:1)"),
        ("raise KeyboardInterrupt", "Interrupted", 130, "interrupted (t.py:1)"),
        ("raise MemoryError", "OutOfMemory", 7, "MemoryError (t.py:1)"),
    ],
)
def test_each_kind_of_end_has_its_reason_and_code(
    tmp_path: Path, source: str, reason: str, code: int, message: str
) -> None:
    found = failure.from_exception(raised(source, tmp_path / "t.py"))
    assert (found.reason, found.exit_code, found.message) == (reason, code, message)


def test_arguments_that_the_users_parser_refuses_are_a_bad_parameter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "--rate", "1"])
    source = "import argparse\np = argparse.ArgumentParser()\np.add_argument('--lr')\np.parse_args()\n"
    found = failure.from_exception(raised(source, tmp_path / "train.py"))
    assert (found.reason, found.exit_code, found.retryable) == ("BadParameter", 2, False)
    assert found.message == "train.py: error: unrecognized arguments: --rate 1 (train.py:4)"
    assert "usage: train.py" in capsys.readouterr().err


def test_a_known_error_speaks_for_itself() -> None:
    found = failure.from_exception(DataError("gs://b/x: nothing there"))
    assert (found.reason, found.exit_code, found.message) == ("DataError", 3, "gs://b/x: nothing there")


def test_a_known_error_raised_by_the_users_call_names_the_users_line(tmp_path: Path) -> None:
    error = raised("\nlr = params.get_as('lr', float)\n", tmp_path / "t.py", params=Parameters({"lr": "x"}))
    assert isinstance(error, ParameterError)
    found = failure.from_exception(error)
    assert (found.reason, found.message) == (
        "BadParameter",
        "parameter lr='x' must be a finite number (t.py:2)",
    )


def test_termination_is_a_failure_that_a_retry_may_mend() -> None:
    found = failure.from_exception(Terminated())
    assert (found.reason, found.exit_code, found.retryable) == ("Terminated", 143, True)


def test_an_error_within_a_graph_names_the_line_that_built_the_operation(tmp_path: Path) -> None:
    text = (
        "Graph execution error:\n\nDetected at node loss defined at (most recent call last):\n"
        f'  File "<frozen runpy>", line 9, in run\n\n  File "{tmp_path}/t.py", line 11, in loss\n\n'
        "labels too big\n\t [[{{node loss}}]] [Op:x]"
    )
    operation_error = type("Op", (Exception,), {"__module__": "tensorflow.x"})
    error = raised("raise error", tmp_path / "t.py", error=operation_error(text))
    assert failure.from_exception(error).message == "Op: labels too big (t.py:11)"


def test_the_traceback_begins_with_the_users_first_frame(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = raised("def f():\n    raise ValueError('x')\nf()\n", tmp_path / "t.py")
    failure.print_traceback(error, [tmp_path])
    printed = capsys.readouterr().err
    assert printed.startswith("Traceback (most recent call last):\n")
    assert f'File "{tmp_path}/t.py", line 2, in f' in printed
    assert printed.endswith("ValueError: x\n")


def test_an_exit_prints_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failure.print_traceback(raised("raise SystemExit(2)", tmp_path / "t.py"))
    assert capsys.readouterr().err == ""
