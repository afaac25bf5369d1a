"""What the end-to-end tests ask with: waiting, Airflow's REST API through a port-forward, figures."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from tools.demo.install import NAMESPACE
from tools.demo.kube import Kube, KubeError, Object

T = TypeVar("T")

PIPELINE_LABEL = "mlpipelines.dev/pipeline"
FINISHED = {"Succeeded", "Failed", "Superseded", "Cancelled"}


def until(what: str, look: Callable[[], T | None], *, seconds: float, every: float = 1.0) -> T:
    """Call ``look`` until what it returns is true, and return that; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        problem: KubeError | None = None
        try:
            if found := look():
                return found
        except KubeError as error:
            # A busy API server may fail to answer once.
            problem = error
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:.0f} s still not so: {what}") from problem
        time.sleep(every)


def pipeline(name: str, training: Mapping[str, Any], parameters: Mapping[str, Any]) -> Object:
    """Return an MLPipeline's manifest."""
    return {
        "apiVersion": "mlpipelines.dev/v1alpha1",
        "kind": "MLPipeline",
        "metadata": {"name": name},
        "spec": {
            "training": dict(training),
            "parameters": dict(parameters),
            "objective": {"metric": "val_accuracy", "goal": "Maximize"},
        },
    }


def installed_images(kube: Kube) -> dict[str, str]:
    """Return the settings that name the images of the installed operator."""
    (deployment,) = kube.list("deployments", NAMESPACE)
    (source,) = deployment["spec"]["template"]["spec"]["containers"][0]["envFrom"]
    settings = kube.get("configmap", source["configMapRef"]["name"], NAMESPACE)
    assert settings is not None
    return dict(settings["data"])


def state(resource: Object | None) -> str:
    """Return the state in a resource's status; empty where it has none yet."""
    return str(((resource or {}).get("status") or {}).get("state", ""))


def wait_for_run(kube: Kube, namespace: str, name: str, *, seconds: float = 600) -> Object:
    """Return the run once it has ended, however."""

    def look() -> Object | None:
        run = kube.get("mlpipelinerun", name, namespace)
        return run if state(run) in FINISHED else None

    return until(f"run {name} has ended", look, seconds=seconds)


def wait_for_state(kube: Kube, namespace: str, resource: str, wanted: str, *, seconds: float = 300) -> Object:
    """Return ``kind/name`` once it is in a state, which must be one that it does not just pass through."""
    kind, _, name = resource.partition("/")

    def look() -> Object | None:
        found = kube.get(kind, name, namespace)
        if found is not None and state(found) == wanted:
            return found
        assert kind != "mlpipelinerun" or state(found) not in FINISHED, (found or {})["status"]
        return None

    return until(f"{resource} is {wanted}", look, seconds=seconds)


def log(kube: Kube, namespace: str, pod: str) -> str:
    """Return what a step has printed so far: nothing while its container waits to start, or has no pod."""
    try:
        return kube.run("logs", pod, f"--namespace={namespace}", "--container=base")
    except KubeError as error:
        if any(words in str(error) for words in ("is waiting to start", "is not available", "(NotFound)")):
            return ""
        raise


def termination_message(kube: Kube, namespace: str, pod: str) -> Object:
    """Return what the training left in its pod's status, once the pod has ended."""

    def look() -> Object | None:
        found = kube.get("pod", pod, namespace) or {"status": {}}
        for container in found["status"].get("containerStatuses", []):
            if container["name"] == "base" and "terminated" in container["state"]:
                message: Object = json.loads(container["state"]["terminated"]["message"])
                return message
        return None

    return until(f"pod {pod} has ended", look, seconds=120)


def conditions(resource: Object) -> dict[str, str]:
    """Return the status of each condition, by type."""
    return {each["type"]: each["status"] for each in resource["status"].get("conditions", [])}


def metrics(status: Mapping[str, Any]) -> dict[str, str]:
    """Return a run's metrics by name."""
    return {each["name"]: each["value"] for each in status.get("metrics", [])}


class AirflowApi:
    """Airflow's REST API, as the person of the admin Secret."""

    def __init__(self, port: int, username: str, password: str) -> None:
        """Log in at a local port."""
        self._root = f"http://127.0.0.1:{port}"
        self._token = ""
        answer = self._call("/auth/token", {"username": username, "password": password})
        self._token = answer["access_token"]

    def get(self, path: str) -> Any:
        """Return the JSON of ``GET /api/v2<path>``; ``None`` where there is nothing (404)."""
        try:
            return self._call(f"/api/v2{path}")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the JSON of ``POST /api/v2<path>``."""
        return self._call(f"/api/v2{path}", body)

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the JSON of ``PATCH /api/v2<path>``."""
        return self._call(f"/api/v2{path}", body, "PATCH")

    def _call(self, path: str, body: Mapping[str, Any] | None = None, method: str | None = None) -> Any:
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(self._root + path, data=data, method=method)
        request.add_header("Content-Type", "application/json")
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            return json.load(answer)


@contextmanager
def airflow_api(kube: Kube, namespace: str, name: str = "default") -> Iterator[AirflowApi]:
    """Open the Airflow by the very words of its ``status.access``, on a free port."""
    airflow = kube.get("airflow", name, namespace)
    assert airflow is not None
    access = airflow["status"]["access"]
    secret = kube.get("secret", access["passwordSecret"], namespace)
    assert secret is not None
    password = base64.b64decode(secret["data"]["password"]).decode()
    words = access["command"].split()
    assert words[0] == "kubectl"
    # ":8080" takes any free port here; the status names 8080 on both ends.
    arguments = [*words[1:-1], f":{words[-1].rpartition(':')[2]}"]
    with forwarded(kube.command(*arguments)) as port:
        yield AirflowApi(port, access["username"], password)


@contextmanager
def forwarded(command: list[str]) -> Iterator[int]:
    """Run ``kubectl port-forward``; yields the local port."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("Forwarding from 127.0.0.1:"), line
        # Later lines ("Handling connection") must not fill the pipe.
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield int(line.split(":")[1].split()[0])
    finally:
        process.terminate()
        process.wait(timeout=10)
        process.stdout.close()
