"""Code of the user's own: a plain Keras script reports by itself, and an error names its file and line.

To spare an image build, the scripts lie in a ConfigMap, and on the volume that step pods mount: to the
trainer those are paths like any in an image.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.support import installed_images, metrics, pipeline, state, until, wait_for_run
from tools.demo.kube import Kube, Object

_CODE = Path(__file__).with_name("code")
_FOLDER = "/mlp/artifacts/code"


@pytest.fixture(scope="module")
def trainer_image(kube: Kube) -> str:
    return installed_images(kube)["MLP_TRAINER_IMAGE"]


@pytest.fixture(scope="module")
def scripts(kube: Kube, namespace: str, mnist: Object, trainer_image: str) -> None:
    """Put the scripts on the volume of the namespace's Airflow."""
    code = {path.name: path.read_text() for path in _CODE.glob("*.py")}
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "code"}, "data": code}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "copy-code"},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {
                "runAsNonRoot": True,
                "fsGroup": 0,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "copy",
                    "image": trainer_image,
                    "command": ["sh", "-c", f"mkdir -p {_FOLDER} && cp /code/*.py {_FOLDER}"],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [
                        {"name": "code", "mountPath": "/code"},
                        {"name": "artifacts", "mountPath": "/mlp/artifacts"},
                    ],
                }
            ],
            "volumes": [
                {"name": "code", "configMap": {"name": "code"}},
                {
                    "name": "artifacts",
                    "persistentVolumeClaim": {"claimName": "airflow-default-artifacts"},
                },
            ],
        },
    }
    kube.apply(config_map, pod, namespace=namespace)

    def phase() -> str:
        found = kube.get("pod", "copy-code", namespace) or {}
        phase = (found.get("status") or {}).get("phase", "")
        return phase if phase in {"Succeeded", "Failed"} else ""

    assert until("the scripts are copied", phase, seconds=180) == "Succeeded"


def test_a_plain_keras_script_gets_its_parameters_and_reports_what_fit_measures(
    kube: Kube, namespace: str, scripts: None, trainer_image: str
) -> None:
    training = {"image": trainer_image, "entrypoint": f"{_FOLDER}/train.py"}
    kube.apply(pipeline("own", training, {"units": 16, "epochs": 3}), namespace=namespace)
    run = wait_for_run(kube, namespace, "own-1")
    assert state(run) == "Succeeded", run["status"]
    assert set(metrics(run["status"])) >= {"accuracy", "loss", "val_accuracy", "val_loss"}
    assert run["status"]["metric"].startswith("val_accuracy=")
    assert run["status"]["model"]["digest"].startswith("sha256:")
    (step,) = run["status"]["steps"]
    log = kube.run("logs", step["pod"], f"--namespace={namespace}", "--container=base")
    assert "saved with 16 units" in log.splitlines()


def test_an_error_in_code_of_a_config_map_is_told_with_its_file_and_line(
    kube: Kube, namespace: str, scripts: None
) -> None:
    training = {"source": {"configMapRef": {"name": "code"}, "entrypoint": "broken.py"}}
    kube.apply(pipeline("broken", training, {}), namespace=namespace)
    run = wait_for_run(kube, namespace, "broken-1")
    assert state(run) == "Failed"
    failure = run["status"]["failure"]
    assert failure["reason"] == "Exception"
    assert "ZeroDivisionError: division by zero" in failure["message"]
    assert "broken.py:7" in failure["message"]
