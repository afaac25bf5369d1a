"""What keeps a run from its end, each provoked for real: the run says what, and its Events tell the story."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.e2e.patient import patient
from tests.e2e.support import FINISHED, conditions, installed_images, log, state, until, wait_for_run
from tools.demo.kube import Kube, Object

# An address where nothing listens.
_NO_IMAGE = "127.0.0.1:1/nothing:1"
_WIDGETS = "requests.example.com/widget"
_GREEDY = """
print("takes all that there is", flush=True)
hoard = []
while True:
    hoard.append(b"x" * (64 << 20))
"""


def pipeline(name: str, policy: dict[str, Any] | None = None, **spec: Any) -> Object:
    return {
        "apiVersion": "mlpipelines.dev/v1alpha1",
        "kind": "MLPipeline",
        "metadata": {"name": name},
        "spec": {**spec, "runPolicy": policy or {}},
    }


def sleeping(image: str) -> list[dict[str, Any]]:
    return [{"name": "sleep", "image": image, "command": ["sh", "-c", "echo sleeps; exec sleep 3600"]}]


@dataclass
class Story:
    """A run after its end, and all that its status said until then: states with their messages."""

    run: Object
    told: list[tuple[str, str]] = field(default_factory=list)

    @property
    def failure(self) -> dict[str, str]:
        assert state(self.run) == "Failed", self.run["status"]
        failure: dict[str, str] = self.run["status"]["failure"]
        return failure

    def messages(self, state: str) -> str:
        return "\n".join(message for each, message in self.told if each == state)


@pytest.fixture(scope="module")
def image(kube: Kube) -> str:
    return installed_images(kube)["MLP_POSTGRES_IMAGE"]


@pytest.fixture(scope="module")
def stories(kube: Kube, namespace: str, mnist: Object, image: str) -> Iterator[dict[str, Story]]:
    """Runs that cannot end well, all at the same time; by pipeline."""
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "no-widgets"},
        "spec": {"hard": {_WIDGETS: "0"}},
    }
    # The scheduler has its say at once; the kubelet, and the question for a quota, take their time.
    soon, later = {"pendingDeadline": "30s"}, {"pendingDeadline": "90s"}
    widget = {"limits": {"example.com/widget": "1"}}
    wanted = [
        pipeline("no-image", later, training={"image": _NO_IMAGE, "entrypoint": "train:main"}),
        # The deadline holds for the launcher's start and the step's together.
        pipeline("no-step-image", {"pendingDeadline": "3m"}, steps=[{"name": "lost", "image": _NO_IMAGE}]),
        pipeline(
            "no-room", soon, training={"dataset": "mnist", "resources": {"requests": {"memory": "500Gi"}}}
        ),
        pipeline("over-quota", later, training={"dataset": "mnist", "resources": widget}),
        pipeline(
            "step-over-quota", {"pendingDeadline": "60s"}, steps=[{**sleeping(image)[0], "resources": widget}]
        ),
        pipeline("too-long", {"deadline": "20s"}, steps=sleeping(image)),
        pipeline(
            "greedy",
            training={"source": {"inline": _GREEDY}, "resources": {"limits": {"memory": "1Gi"}}},
        ),
    ]
    names = [each["metadata"]["name"] for each in wanted]
    kube.apply(quota, *wanted, namespace=namespace)
    found: dict[str, Story] = {}

    def ended() -> bool:
        for run in kube.list("mlpipelineruns", namespace):
            name = run["spec"]["pipelineRef"]["name"]
            if name in names and run.get("status"):
                story = found.setdefault(name, Story(run))
                story.run = run
                told = (state(run), run["status"].get("message", ""))
                if told not in story.told:
                    story.told.append(told)
        return len(found) == len(names) and all(state(story.run) in FINISHED for story in found.values())

    try:
        until("all these runs have ended", ended, seconds=600)
    except AssertionError as error:
        pending = {name: story.told for name, story in found.items() if state(story.run) not in FINISHED}
        raise AssertionError(f"{error}: {json.dumps(pending, indent=1)}") from None
    yield found
    for name in names:
        kube.delete("mlpipeline", name, namespace)
    kube.delete("resourcequota", "no-widgets", namespace)


@pytest.mark.parametrize(("name", "step"), [("no-image", "train"), ("no-step-image", "lost")])
def test_an_image_that_no_registry_has_is_told_in_the_kubelets_words(
    stories: dict[str, Story], name: str, step: str
) -> None:
    failure = stories[name].failure
    assert failure["step"] == step
    assert _NO_IMAGE in failure["message"]


def test_a_training_that_no_node_has_room_for_is_queued_with_the_schedulers_words(
    stories: dict[str, Story],
) -> None:
    story = stories["no-room"]
    assert "Insufficient memory" in story.messages("Queued")
    assert story.failure["reason"] == "PendingDeadlineExceeded"
    assert "Insufficient memory" in story.failure["message"]
    assert story.failure["step"] == "train"


@pytest.mark.parametrize("name", ["over-quota", "step-over-quota"])
def test_a_quota_that_is_used_up_is_told_in_its_own_words(stories: dict[str, Story], name: str) -> None:
    story = stories[name]
    assert "exceeded quota: no-widgets" in story.messages("Queued")
    assert story.failure["reason"] == "PendingDeadlineExceeded"
    assert "exceeded quota: no-widgets" in story.failure["message"]


def test_a_run_over_its_deadline_says_so(stories: dict[str, Story]) -> None:
    failure = stories["too-long"].failure
    assert failure["reason"] == "DeadlineExceeded"
    assert "0:00:20" in failure["message"]


def test_a_training_over_its_memory_limit_says_what_to_raise(kube: Kube, stories: dict[str, Story]) -> None:
    failure = stories["greedy"].failure
    assert (failure["step"], failure["reason"]) == ("train", "OOMKilled")
    assert "training.resources.limits.memory" in failure["message"]
    assert "takes all that there is" in kube.run(*shlex.split(failure["logs"])[1:]).splitlines()


def test_the_events_of_a_failed_run_tell_its_story_once(
    kube: Kube, namespace: str, stories: dict[str, Story]
) -> None:
    def events(name: str) -> list[tuple[str, str, str]]:
        found = kube.list("events.events.k8s.io", namespace)
        return [
            (each["type"], each["reason"], each.get("note", ""))
            for each in sorted(found, key=lambda each: str(each.get("eventTime")))
            if each["regarding"]["kind"] == "MLPipelineRun" and each["regarding"]["name"] == f"{name}-1"
        ]

    def told(name: str) -> list[tuple[str, str, str]]:
        seen = events(name)
        return seen if "Failed" in {reason for _, reason, _ in seen} else []

    greedy = until("the Events of a failed run are there", lambda: told("greedy"), seconds=60)
    reasons = [reason for _, reason, _ in greedy if reason not in ("PullingImage", "Queued")]
    assert reasons == ["Started", "Running", "Failed"]
    kind, _, note = greedy[-1]
    assert kind == "Warning"
    assert "step train: OOMKilled: " in note
    assert "kubectl" in note
    described = kube.run("describe", "mlpipelinerun", "greedy-1", f"--namespace={namespace}")
    assert "OOMKilled" in described.partition("Events:")[2]

    waiting = until("the Events of a run without room are there", lambda: told("no-room"), seconds=60)
    (queued,) = [each for each in waiting if each[1] == "Queued"]
    assert queued[0] == "Warning"
    assert "Insufficient memory" in queued[2]


def _evict(kube: Kube, namespace: str, pod: str) -> None:
    """Ask for what a drained node asks for."""
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": namespace},
        "deleteOptions": {"gracePeriodSeconds": 20},
    }
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
    kube.run("create", "--raw", path, "--filename=-", stdin=json.dumps(body))


def _pod_that_printed(kube: Kube, namespace: str, run: str, words: str) -> str:
    def look() -> str:
        found = kube.get("mlpipelinerun", run, namespace) or {}
        for step in (found.get("status") or {}).get("steps", []):
            pod = str(step.get("pod", ""))
            # A launcher's log has them, too, with its own words before them.
            if pod and words in log(kube, namespace, pod).splitlines():
                return pod
        assert state(found) not in FINISHED, found["status"]
        return ""

    return until(f"{run} has printed {words!r}", look, seconds=600)


def test_an_evicted_training_goes_on_from_its_checkpoint_where_it_may_try_again(
    kube: Kube, namespace: str, mnist: Object, image: str
) -> None:
    trained = patient("evicted-training", 30, 1)
    trained["spec"]["runPolicy"] = {"retries": 1, "backoff": {"delay": "1s"}}
    kube.apply(trained, pipeline("evicted-step", steps=sleeping(image)), namespace=namespace)
    training = _pod_that_printed(kube, namespace, "evicted-training-1", "through with epoch 3 of 30")
    _evict(kube, namespace, training)
    _evict(kube, namespace, _pod_that_printed(kube, namespace, "evicted-step-1", "sleeps"))

    ended = wait_for_run(kube, namespace, "evicted-step-1")
    failure = ended["status"]["failure"]
    assert (state(ended), failure["step"], failure["reason"]) == ("Failed", "sleep", "Evicted")
    assert conditions(ended)["Failed"] == "True"

    ended = wait_for_run(kube, namespace, "evicted-training-1")
    assert state(ended) == "Succeeded", ended["status"]
    assert ended["status"]["attempt"] == 2
    (step,) = ended["status"]["steps"]
    assert step["pod"] != training
    # Where the disk is slow, not each epoch is kept; the first one is.
    done = ended["status"]["resumedFromEpoch"]
    assert done >= 1
    through = [line for line in log(kube, namespace, step["pod"]).splitlines() if line.startswith("through")]
    assert through == [f"through with epoch {epoch} of 30" for epoch in range(done + 1, 31)]
    for name in ("evicted-training", "evicted-step"):
        kube.delete("mlpipeline", name, namespace)
