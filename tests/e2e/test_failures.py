"""Trainings that fail: the run's status names the true cause, and the log is there to read."""

from __future__ import annotations

import shlex

import pytest

from tests.e2e.support import (
    conditions,
    installed_images,
    pipeline,
    termination_message,
    wait_for_run,
    wait_for_state,
)
from tools.demo.kube import Kube, Object


@pytest.fixture(scope="module")
def trainer_image(kube: Kube) -> str:
    """The trainer image that the installed operator uses."""
    return installed_images(kube)["MLP_TRAINER_IMAGE"]


@pytest.fixture(scope="module")
def failed(kube: Kube, namespace: str, mnist: Object, trainer_image: str) -> dict[str, Object]:
    """Three runs that fail in different ways, all at the same time; by pipeline."""
    mine = {"image": trainer_image, "entrypoint": "no_such_module:train"}
    kube.apply(
        pipeline("negative", {"dataset": "mnist"}, {"epochs": -1}),
        pipeline("unknown", {"dataset": "mnist"}, {"epoch": 3}),
        pipeline("missing", mine, {}),
        namespace=namespace,
    )
    return {name: wait_for_run(kube, namespace, f"{name}-1") for name in ("negative", "unknown", "missing")}


@pytest.mark.parametrize(
    ("name", "reason", "words", "exit_code"),
    [
        ("negative", "BadParameter", "epochs=-1 must be at least 1", 2),
        ("unknown", "BadParameter", "unknown parameter 'epoch'; did you mean epochs?", 2),
        ("missing", "BadEntrypoint", "no_such_module", 2),
    ],
)
def test_a_failed_run_says_which_step_failed_and_why(
    kube: Kube, namespace: str, failed: dict[str, Object], name: str, reason: str, words: str, exit_code: int
) -> None:
    status = failed[name]["status"]
    assert status["state"] == "Failed"
    assert status["failure"]["reason"] == reason
    assert words in status["failure"]["message"]
    (step,) = status["steps"]
    assert step["name"] == status["failure"]["step"]
    message = termination_message(kube, namespace, step["pod"])
    assert message["failure"]["exitCode"] == exit_code
    assert conditions(failed[name])["Failed"] == "True"
    assert conditions(failed[name])["Succeeded"] == "False"


def test_the_command_in_the_failure_shows_the_cause(kube: Kube, failed: dict[str, Object]) -> None:
    failure = failed["negative"]["status"]["failure"]
    words = shlex.split(failure["logs"])
    assert words[0] == "kubectl"
    assert "epochs=-1 must be at least 1" in kube.run(*words[1:])


def test_a_failed_run_leaves_its_pipeline_ready_and_tells_it(
    kube: Kube, namespace: str, failed: dict[str, Object]
) -> None:
    found = wait_for_state(kube, namespace, "mlpipeline/negative", "Failed")
    assert "epochs=-1" in found["status"]["message"]
    assert conditions(found)["Ready"] == "True"
    assert conditions(found)["LastRunSucceeded"] == "False"
