import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .conftest import MODEL, finish, read, start


def test_a_real_process_keeps_the_users_output_apart_and_ends_with_0(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(f"{MODEL}\nprint('hello')\nmake().fit(x, y, epochs=2)\n")
    code, out, err = finish(start(tmp_path, "train.py"))
    assert code == 0, err
    lines = out.splitlines()
    assert lines[:2] == ["hello", "Epoch 1/2"]
    assert len(lines) == 5
    others = [line for line in err.splitlines() if not line.startswith("mlpipeline-trainer: ")]
    # On some processors TensorFlow says this before it heeds TF_CPP_MIN_LOG_LEVEL.
    assert all("absl::InitializeLog()" in line or "oneDNN custom operations" in line for line in others), err


def test_a_real_process_that_fails_prints_the_users_traceback_and_ends_with_1(tmp_path: Path) -> None:
    (tmp_path / "usercode.py").write_text("def train():\n    raise ValueError('bad lr')\n")
    code, out, err = finish(start(tmp_path, "run", MLP_ENTRYPOINT="usercode:train"))
    assert (code, out) == (1, "")
    assert f'File "{tmp_path}/usercode.py", line 2, in train' in err
    assert "mlpipeline_trainer/runner.py" not in err
    assert err.splitlines()[-1] == "mlpipeline-trainer: Failed: Exception: ValueError: bad lr (usercode.py:2)"


def wait_for(path: Path, holds: Callable[[dict[str, Any]], bool]) -> None:
    until = time.monotonic() + 240
    while time.monotonic() < until:
        if path.exists() and holds(read(path)):
            return
        time.sleep(0.1)
    raise AssertionError(path.read_text() if path.exists() else f"no {path}")


LONG = f"{MODEL}\nimport time\n"
LONG += "slow = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: time.sleep(0.3))\n"
LONG += "try:\n    make().fit(x, y, epochs=10000, callbacks=[slow])\nfinally:\n    print('cleaned')\n"


def test_a_training_that_is_terminated_says_so_and_keeps_its_metrics(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(LONG)
    process = start(tmp_path, "train.py")
    wait_for(tmp_path / "result.json.running", lambda result: result["epochs"] >= 2)
    process.terminate()
    code, out, _ = finish(process)
    assert code == 143
    assert out.splitlines()[-1] == "cleaned"
    for name in ("result.json", "log"):
        result = read(tmp_path / name)
        assert result["failure"]["reason"] == "Terminated"
        assert float(result["metrics"]["loss"]) >= 0
        assert result["epochs"] >= 2


def test_a_training_that_is_killed_leaves_no_result_but_its_metrics_so_far(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(LONG)
    process = start(tmp_path, "train.py")
    wait_for(tmp_path / "result.json.running", lambda result: result["epochs"] >= 2)
    process.kill()
    assert finish(process)[0] == -9
    assert not (tmp_path / "result.json").exists()
    result = read(tmp_path / "result.json.running")
    assert result["state"] == "Running"
    assert "loss" in result["metrics"]
