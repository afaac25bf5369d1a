"""Everything that a test of the operator needs, in one namespace of the test's own."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from mlpipeline_operator import names
from tests.integration.conftest import Audit, Call
from tests.integration.operator.support.api import Api, Body
from tests.integration.operator.support.process import Operator
from tests.integration.operator.support.world import Airflow, World, step_pod
from tests.support.fake_airflow import FakeRun

T = TypeVar("T")

RESULT = {
    "schema": 1,
    "state": "Succeeded",
    "metrics": {"val_accuracy": "0.98125"},
    "model": {"uri": "pvc://claim/model", "digest": "sha256:abc"},
}


def wait_for(condition: Callable[[], T], what: str, seconds: float = 90) -> T:
    """Return what ``condition`` returns once it is true.

    Raises:
        AssertionError: It does not come true in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"within {seconds:.0f} s: {what}")
        time.sleep(0.1)


@dataclass
class Site:
    """A namespace with its Airflow, and the audit log."""

    api: Api
    namespace: str
    airflow: Airflow
    world: World
    audits: list[Audit]
    start: Callable[..., Operator]

    def pipeline(self, name: str = "digits", **spec: Any) -> Body:
        return {
            "apiVersion": names.API_VERSION,
            "kind": "MLPipeline",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "training": {"dataset": "mnist"},
                "parameters": {"epochs": 3},
                "objective": {"metric": "val_accuracy"},
                **spec,
            },
        }

    def get(self, kind: str, name: str) -> Body:
        body = self.api.get(kind, self.namespace, name)
        assert body is not None, f"there is no {kind} {name}"
        return body

    def status(self, kind: str, name: str) -> Body:
        body = self.api.get(kind, self.namespace, name)
        return (body or {}).get("status") or {}

    def names(self, kind: str, selector: str = "") -> set[str]:
        return {each["metadata"]["name"] for each in self.api.list(kind, self.namespace, selector)}

    def is_ready(self, kind: str, name: str) -> bool:
        """Whether it is Ready, and so for the spec that it has now."""
        body = self.api.get(kind, self.namespace, name)
        status = (body or {}).get("status") or {}
        return (
            body is not None
            and status.get("observedGeneration") == body["metadata"]["generation"]
            and any(
                each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", ())
            )
        )

    def wait_ready(self, kind: str, name: str) -> None:
        try:
            wait_for(lambda: self.is_ready(kind, name), f"{kind} {name} is Ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.status(kind, name)}") from None

    def wait_state(self, kind: str, name: str, *states: str) -> Body:
        what = f"{kind} {name} is {' or '.join(states)}"
        try:
            wait_for(lambda: self.status(kind, name).get("state") in states, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.status(kind, name)}") from None
        return self.status(kind, name)

    def triggered(self, number: int = 1, pipeline: str = "digits") -> FakeRun:
        """The ``number``-th run that Airflow has of a pipeline, once it has it."""
        dag_id = names.dag_id(self.namespace, pipeline)
        return wait_for(lambda: self.airflow.runs(dag_id)[number - 1 :], f"Airflow has run {number}")[0]

    def succeed(self, run: FakeRun) -> None:
        """Let a run end well in Airflow, its result in XCom."""
        self.airflow.do(
            lambda fake: fake.advance(
                run.dag_id, run.run_id, "success", {"train": "success"}, {"train": {"result": RESULT}}
            )
        )

    def step_pod(self, run: FakeRun, attempt: int = 1) -> str:
        """The executor makes the pod of the run's step; returns the pod's name."""
        pipeline = run.dag_id.removeprefix(f"{self.namespace}.")
        pod = self.api.create(step_pod(self.namespace, pipeline, run, attempt=attempt))
        return str(pod["metadata"]["name"])

    def pod_status(self, pod: str, **status: Any) -> None:
        self.api.merge("Pod", self.namespace, pod, {"status": status}, "status")

    def calls(self) -> list[Call]:
        """What the operator asked of the API server about this namespace since ``restart_audit``."""
        calls = [call for audit in self.audits for call in audit.calls(namespace=self.namespace)]
        return [call for call in calls if call.verb != "watch"]

    def writes(self) -> Counter[str]:
        """Its writes besides Events, as ``verb resource[/subresource]``."""
        return Counter(_text(call) for call in self.calls() if call.is_write and call.resource != "events")

    def event_writes(self) -> int:
        """How many Events it posted."""
        return sum(call.is_write and call.resource == "events" for call in self.calls())

    def events(self, kind: str, name: str) -> list[tuple[str, str, str]]:
        """Type, reason and note of the Events about an object, the oldest first."""
        found = [
            event
            for event in self.api.list("Event", self.namespace)
            if (event["regarding"]["kind"], event["regarding"]["name"]) == (kind, name)
            and event.get("reportingController") == names.EVENT_REPORTER
        ]
        found.sort(key=lambda event: event["eventTime"])
        return [(event["type"], event["reason"], event["note"]) for event in found]

    def reads(self) -> Counter[str]:
        """Its reads besides watches."""
        return Counter(_text(call) for call in self.calls() if not call.is_write)

    def restart_audit(self) -> None:
        for audit in self.audits:
            audit.restart()

    def settle(self, quiet: float = 2.0, seconds: float = 90) -> None:
        """Wait until the operator has asked nothing about this namespace for ``quiet`` seconds."""
        deadline = time.monotonic() + seconds
        known, since = len(self.calls()), time.monotonic()
        while time.monotonic() - since < quiet:
            time.sleep(0.2)
            now = len(self.calls())
            if now != known:
                known, since = now, time.monotonic()
            assert time.monotonic() < deadline, f"still busy after {seconds} s: {self.calls()[-20:]}"


def _text(call: Call) -> str:
    return f"{call.verb} {call.resource}" + (f"/{call.subresource}" if call.subresource else "")
