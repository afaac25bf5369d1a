import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3] / "trainer"
PROGRAM = """
import ctypes, multiprocessing, os, sys, time
from mlpipeline_trainer.errors import Terminated
from mlpipeline_trainer.signals import on_sigterm

def last_word():
    os.write(1, b"last word\\n")

def ready():
    os.write(1, b"ready\\n")

try:
    with on_sigterm(last_word, grace=0.5):
        {body}
except Terminated:
    os.write(1, b"terminated\\n")
    sys.exit(143)
os.write(1, b"went on\\n")
"""


def terminate(body: str, tmp_path: Path) -> tuple[int, list[str]]:
    """Runs the body, sends SIGTERM once it says ready, and returns exit status and output."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(body=body.replace("\n", "\n        ")))
    with subprocess.Popen(
        [sys.executable, "-W", "error", program],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read().splitlines()
        return process.wait(timeout=30), rest


def test_sigterm_says_the_last_word_and_raises_in_the_main_thread(tmp_path: Path) -> None:
    code, printed = terminate("ready(); time.sleep(60)", tmp_path)
    assert (code, sorted(set(printed))) == (143, ["last word", "terminated"])


def test_an_except_clause_of_the_users_does_not_swallow_it_and_finally_runs(tmp_path: Path) -> None:
    body = (
        "try:\n    ready(); time.sleep(60)\nexcept Exception:\n    pass\n"
        "finally:\n    os.write(1, b'cleaned\\n')"
    )
    code, printed = terminate(body, tmp_path)
    assert (code, sorted(set(printed))) == (143, ["cleaned", "last word", "terminated"])


def test_a_main_thread_that_stays_in_c_code_is_ended_after_the_grace_period(tmp_path: Path) -> None:
    # Hours of hashing without the interpreter's lock stand for a long operation of TensorFlow's.
    body = "import hashlib\nready()\nhashlib.pbkdf2_hmac('sha256', b'x', b'y', 2_000_000_000)"
    code, printed = terminate(body, tmp_path)
    assert (code, printed) == (143, ["last word"])


def test_a_child_process_that_is_terminated_does_not_end_its_parent(tmp_path: Path) -> None:
    body = (
        "context = multiprocessing.get_context('fork')\n"
        "child = context.Process(target=time.sleep, args=(60,))\n"
        "child.start(); time.sleep(0.2); child.terminate(); child.join()\n"
        "os.write(1, b'child %d\\n' % child.exitcode)\n"
        "ready(); time.sleep(60)"
    )
    program = tmp_path / "p.py"
    program.write_text(PROGRAM.format(body=body.replace("\n", "\n        ")))
    with subprocess.Popen(
        [sys.executable, program], stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(ROOT)}
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "child -15\n"
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert sorted(set(process.stdout.read().splitlines())) == ["last word", "terminated"]
        assert process.wait(timeout=30) == 143


def test_without_a_signal_nothing_is_said_and_the_old_handler_is_back() -> None:
    from mlpipeline_trainer.signals import on_sigterm

    before = signal.getsignal(signal.SIGTERM)
    with on_sigterm(lambda: pytest.fail("no signal came")):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
