"""What a control plane without nodes lacks: somebody who starts pods, and Airflow's dag-processor.

``World`` plays both in one namespace, with the same objects that the real ones read and write: it marks
Airflow's pods as ready, and has the fake Airflow parse what the bundle's ConfigMaps hold.
"""

from __future__ import annotations

import ast
import asyncio
import base64
import json
import operator
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from mlpipeline_operator import names
from tests.integration.operator.support.api import Api, ApiError, Body
from tests.support.fake_airflow import FakeAirflow, FakeRun

T = TypeVar("T")
_PERIOD = 0.2


class Airflow:
    """A fake Airflow that listens for as long as the context lasts, in a thread of its own."""

    def __init__(self) -> None:
        self.fake = FakeAirflow(password="not known yet")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Airflow:
        self._thread.start()
        self._wait(self.fake.start())
        return self

    def __exit__(self, *_: object) -> None:
        self._wait(self.fake.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        return self.fake.url

    def go_down(self) -> None:
        self._wait(self.fake.stop())

    def come_back(self) -> None:
        self._wait(self.fake.start())

    def do(self, act: Callable[[FakeAirflow], T]) -> T:
        """Let ``act`` look at the fake, or change it, in the fake's own thread."""

        async def main() -> T:
            return act(self.fake)

        result: T = self._wait(main())
        return result

    def runs(self, dag_id: str) -> list[FakeRun]:
        return self.do(lambda fake: [run for key, run in fake.runs.items() if key[0] == dag_id])

    def _wait(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)


class World:
    """Kubelet and dag-processor of one namespace, for as long as the context lasts.

    Attributes:
        starts_pods: Whether Airflow's pods become ready; a test may stop that.
        parses: Whether the dag-processor works.
    """

    def __init__(self, api: Api, namespace: str, airflow: Airflow) -> None:
        self.starts_pods = self.parses = True
        self._api, self._namespace, self._airflow = api, namespace, airflow
        self._parsed: dict[str, str] = {}
        self._known_password = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._failure: Exception | None = None

    def __enter__(self) -> World:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        while not self._stopping.wait(_PERIOD):
            try:
                if self.starts_pods:
                    self._start_pods()
                if not self._known_password:
                    self._read_password()
                if self.parses:
                    self._parse()
            except ApiError as error:
                # A pod that is gone, a namespace that goes.
                if error.status not in (404, 409):
                    self._failure = error
                    return
            except Exception as error:
                self._failure = error
                return

    def _start_pods(self) -> None:
        for pod in self._api.list("Pod", self._namespace, names.AIRFLOW_LABEL):
            if not _is_ready(pod):
                name = pod["metadata"]["name"]
                self._api.merge("Pod", self._namespace, name, {"status": _ready_status()}, "status")

    def _read_password(self) -> None:
        for secret in self._api.list("Secret", self._namespace, names.AIRFLOW_LABEL):
            if secret["metadata"]["name"].endswith("-admin"):
                password = base64.b64decode(secret["data"]["password"]).decode()
                self._airflow.fake.password = password
                self._known_password = True

    def _parse(self) -> None:
        for pointer in self._api.list("ConfigMap", self._namespace, f"{names.ROLE_LABEL}=bundle"):
            version = self._api.get("ConfigMap", self._namespace, pointer["data"]["version"])
            files = json.loads((version or {}).get("data", {}).get("manifest.json", "{}")).get("files", {})
            for path in set(self._parsed) - set(files):
                self._airflow.do(operator.methodcaller("remove_file", path))
                del self._parsed[path]
            for path, entry in files.items():
                if self._parsed.get(path) != entry["configMap"]:
                    self._parse_file(path, entry)

    def _parse_file(self, path: str, entry: Body) -> None:
        source = self._api.get("ConfigMap", self._namespace, entry["configMap"])
        if source is None:
            return
        constants = _constants(source["data"][entry["key"]])
        self._airflow.do(lambda fake: fake.parse(constants["DAG_ID"], path, constants["TAGS"]))
        self._parsed[path] = entry["configMap"]


def _constants(text: str) -> dict[str, Any]:
    """The literals that a DAG file assigns at its top level."""
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found


def _is_ready(pod: Body) -> bool:
    conditions: Iterable[Body] = (pod.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _ready_status() -> Body:
    # In the past, so that the pod counts as available at once.
    moment = "2026-01-01T00:00:00Z"
    return {
        "phase": "Running",
        "conditions": [
            {"type": kind, "status": "True", "lastTransitionTime": moment}
            for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        ],
    }


def step_pod(namespace: str, pipeline: str, run: FakeRun, *, attempt: int = 1, step: str = "train") -> Body:
    """The pod that KubernetesExecutor makes for a step, as far as the operator looks at it."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{pipeline}-{step}-{run.number}-{attempt}",
            "namespace": namespace,
            "labels": {**names.pipeline_labels(pipeline), names.STEP_LABEL: step},
            "annotations": {
                "dag_id": run.dag_id,
                "run_id": run.run_id,
                "task_id": step,
                "try_number": str(attempt),
            },
        },
        "spec": {"containers": [{"name": "base", "image": "images.test/trainer:1"}]},
    }
