"""A script in the pipeline itself, unchanged from a laptop: the example of the user guide."""

from __future__ import annotations

import yaml

from tests.e2e.support import log, metrics, wait_for_run
from tools.cluster.paths import REPOSITORY
from tools.demo.kube import Kube, Object


def test_a_script_in_the_pipeline_trains_reports_and_leaves_its_model(
    kube: Kube, namespace: str, mnist: Object
) -> None:
    manifest = yaml.safe_load((REPOSITORY / "manifests/examples/own-script.yaml").read_text())
    kube.apply(manifest, namespace=namespace)
    name = manifest["metadata"]["name"]
    run = wait_for_run(kube, namespace, f"{name}-1")
    assert run["status"]["state"] == "Succeeded", run["status"]
    assert float(metrics(run["status"])["val_loss"]) < 0.5
    model = run["status"]["model"]
    assert model["uri"].endswith(f"/{namespace}/{name}/{name}-1/model/model.keras")
    assert model["digest"].startswith("sha256:")
    assert "Epoch 20/20" in log(kube, namespace, run["status"]["steps"][0]["pod"])
    kube.delete("mlpipeline", name, namespace, wait=180)
