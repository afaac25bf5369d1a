"""Code from a private Git repository, and packages that it needs: in a pod, as a user has them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.support import installed_images, metrics, pipeline, wait_for_run
from tools.demo.kube import Kube, Object

_FILES = Path(__file__).with_name("repository")
_NAME = "code-server"
_PORT = 8080


@dataclass(frozen=True)
class Site:
    """Where code and packages are, the passwords that are right and wrong, and what the tag v1 is."""

    host: str
    right: str
    wrong: str
    commit: str


def server(image: str) -> list[Object]:
    """Return the manifests of repository and package index, under the restricted security level."""
    labels = {"app": _NAME}
    logins = [
        {
            "name": f"GIT_{key.upper()}",
            "valueFrom": {"secretKeyRef": {"name": "reader", "key": key}},
        }
        for key in ("username", "password")
    ]
    container = {
        "name": "server",
        "image": image,
        "command": ["python3", "/code/server.py", str(_PORT), "/code"],
        "env": [*logins, {"name": "HOME", "value": "/tmp"}],
        "readinessProbe": {"tcpSocket": {"port": _PORT}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "code", "mountPath": "/code"}],
    }
    pod = {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": [{"name": "code", "configMap": {"name": _NAME}}],
    }
    service = {"selector": labels, "ports": [{"port": _PORT}]}
    files = {path.name: path.read_text() for path in _FILES.glob("*.py")}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": _NAME}, "data": files},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": _NAME, "labels": labels}, "spec": pod},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": _NAME}, "spec": service},
    ]


def login(name: str, password: str) -> Object:
    keys = {"username": "reader", "password": password}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": keys}


@pytest.fixture(scope="module")
def image(kube: Kube) -> str:
    return installed_images(kube)["MLP_TRAINER_IMAGE"]


@pytest.fixture(scope="module")
def site(kube: Kube, namespace: str, image: str) -> Iterator[Site]:
    right, wrong = (f"{word}-{secrets.token_hex(8)}" for word in ("right", "wrong"))
    kube.apply(login("reader", right), login("stranger", wrong), *server(image), namespace=namespace)
    here = f"--namespace={namespace}"
    kube.run("wait", "--for=condition=Ready", f"pod/{_NAME}", here, "--timeout=240s", timeout=300)
    (line,) = [each for each in kube.run("logs", _NAME, here).splitlines() if each.startswith("v1 is ")]
    yield Site(f"{_NAME}.{namespace}.svc", right, wrong, line.split()[-1])
    for kind, name in (("pod", _NAME), ("service", _NAME), ("secret", "reader"), ("secret", "stranger")):
        kube.delete(kind, name, namespace)


@pytest.fixture(scope="module")
def runs(kube: Kube, namespace: str, mnist: Object, site: Site) -> Iterator[dict[str, Object]]:
    """A run that has all it needs, and two that lack something, all at the same time; by pipeline."""
    address = f"http://{site.host}:{_PORT}"

    def training(secret: str, *requirements: str) -> dict[str, Any]:
        git = {"url": f"{address}/repo.git", "ref": "v1", "path": "src", "secretRef": {"name": secret}}
        return {
            "source": {"git": git, "entrypoint": "train.py"},
            "requirements": list(requirements),
            "env": [
                {"name": "PIP_INDEX_URL", "value": f"{address}/simple"},
                {"name": "PIP_TRUSTED_HOST", "value": site.host},
            ],
        }

    trainings = {
        "from-git": training("reader", "code-words==1.0"),
        "wrong-password": training("stranger", "code-words==1.0"),
        "no-package": training("reader", "code-words==1.0", "no-such-words==2.0"),
    }
    pipelines = [pipeline(name, each, {}) for name, each in trainings.items()]
    for each in pipelines:
        each["spec"]["objective"] = {"metric": "val_loss", "goal": "Minimize"}
    kube.apply(*pipelines, namespace=namespace)
    try:
        yield {name: wait_for_run(kube, namespace, f"{name}-1") for name in trainings}
    finally:
        for name in trainings:
            kube.delete("mlpipeline", name, namespace, wait=90)


def log_of(kube: Kube, run: Object) -> str:
    where = f"--namespace={run['metadata']['namespace']}"
    return kube.run("logs", run["status"]["steps"][0]["pod"], where, "--container=base")


def test_code_of_a_private_repository_trains_with_the_package_that_it_needs(
    kube: Kube, runs: dict[str, Object], site: Site
) -> None:
    status = runs["from-git"]["status"]
    assert status["state"] == "Succeeded", status
    assert float(metrics(status)["val_loss"]) < 0.5
    assert status["metric"].startswith("val_loss=")
    assert status["model"]["digest"].startswith("sha256:")
    assert status["inputs"]["commit"] == site.commit
    log = log_of(kube, runs["from-git"])
    assert f"code: http://{site.host}:{_PORT}/repo.git at {site.commit}" in log
    assert "code_words says: installed for this training alone" in log.splitlines()
    assert site.right not in log


def test_a_password_that_is_wrong_is_told_and_shown_nowhere(
    kube: Kube, namespace: str, runs: dict[str, Object], site: Site
) -> None:
    run = runs["wrong-password"]
    failure = run["status"]["failure"]
    assert failure["reason"] == "SourceError"
    assert f"Authentication failed for 'http://{site.host}:{_PORT}/repo.git/'" in failure["message"]
    assert "it does not take the username and password of the Secret" in failure["message"]
    log = log_of(kube, run)
    assert "Authentication failed" in log
    assert site.wrong not in log
    kinds = "mlpipelines,mlpipelineruns,pods,configmaps,events"
    everything = kube.run("get", kinds, f"--namespace={namespace}", "--output=json")
    assert run["metadata"]["uid"] in everything
    assert site.wrong not in everything


def test_a_requirement_that_nobody_has_is_named(kube: Kube, runs: dict[str, Object]) -> None:
    failure = runs["no-package"]["status"]["failure"]
    assert failure["reason"] == "RequirementsError"
    assert failure["message"] == "No matching distribution found for no-such-words==2.0"
    assert "loading TensorFlow" not in log_of(kube, runs["no-package"])
