"""Answers of Airflow 3.3.2, as recorded from a real one."""

from __future__ import annotations

from mlpipeline_operator.airflow import ImportFailure

FAILURE = {
    "import_error_id": 1,
    "timestamp": "2026-11-22T19:24:48.096150Z",
    "filename": "mnist/dag.py",
    "bundle_name": "mlpipelines",
}


def test_the_line_is_that_of_the_file_and_not_of_a_library_it_calls() -> None:
    trace = (
        "Traceback (most recent call last):\n"
        '  File "<frozen importlib._bootstrap>", line 488, in _call_with_frames_removed\n'
        '  File "/opt/airflow/bundles/current/mnist/dag.py", line 12, in <module>\n'
        '  File "/usr/lib/python3.13/site-packages/airflow/sdk/definitions/dag.py", line 600, in __init__\n'
        "ValueError: schedule is not understood\n"
    )
    failure = ImportFailure.parse(FAILURE | {"stack_trace": trace})
    assert str(failure) == "mnist/dag.py:12: ValueError: schedule is not understood"
    assert failure.stack_trace == trace


def test_a_syntax_error_has_its_line_too() -> None:
    trace = (
        '  File "/opt/airflow/bundles/current/mnist/dag.py", line 3\n'
        "    def (\n"
        "        ^\n"
        "SyntaxError: invalid syntax\n"
    )
    assert str(ImportFailure.parse(FAILURE | {"stack_trace": trace})) == (
        "mnist/dag.py:3: SyntaxError: invalid syntax"
    )


def test_without_a_line_there_is_still_a_message() -> None:
    failure = ImportFailure.parse(FAILURE | {"stack_trace": "Timeout while importing\n"})
    assert str(failure) == "mnist/dag.py: Timeout while importing"
    assert ImportFailure.parse(FAILURE | {"stack_trace": ""}).message == "Airflow gave no reason."
