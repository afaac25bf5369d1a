"""The operator on one of our own clusters: images, CRDs, Deployment; each step harmless to repeat."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from tools.cluster import imageload, lifecycle
from tools.cluster.paths import REPOSITORY, Layout
from tools.cluster.progress import Progress
from tools.demo.kube import Kube

__all__ = ["NAMESPACE", "install"]

NAMESPACE = "mlpipeline-system"
_OPERATOR = "deployment/mlpipeline-operator"
_OVERLAY = REPOSITORY / "manifests" / "overlays" / "default"


def install(layout: Layout, progress: Progress) -> Kube:
    """Bring up the cluster with the operator of this working tree in it.

    Args:
        layout: Which cluster.
        progress: Where the phases are shown and recorded.

    Raises:
        ClusterError: The cluster or an image could not be made.
        KubeError: The operator was not ready in time.
    """
    lifecycle.up(layout, progress)
    images = imageload.load_into(layout, [], progress)
    kube = Kube(layout)
    with progress.phase("Installing the CRDs and the operator"):
        overlay = write_overlay(layout, images)
        kube.run("apply", "--server-side", "--force-conflicts", f"--kustomize={overlay}")
        crds = ["crd/mlpipelines.mlpipelines.dev", "crd/mlpipelineruns.mlpipelines.dev"]
        crds.append("crd/airflows.mlpipelines.dev")
        kube.run("wait", "--for=condition=Established", "--timeout=60s", *crds)
    with progress.phase("Waiting for the operator"):
        wait = ["rollout", "status", _OPERATOR, f"--namespace={NAMESPACE}", "--timeout=180s"]
        kube.run(*wait, timeout=200)
    return kube


def write_overlay(layout: Layout, images: Mapping[str, str]) -> Path:
    """Write the overlay that pins the operator to ``images`` (target -> reference) and return its folder.

    It lies in the repository's ignored build folder: kustomize takes a base by a relative path only.
    """
    folder = REPOSITORY / "build" / layout.name
    folder.mkdir(parents=True, exist_ok=True)
    name, _, tag = images["operator"].rpartition(":")
    settings = [
        f"MLP_{target.upper()}_IMAGE={images[target]}" for target in ("airflow", "trainer", "postgres")
    ]
    overlay = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(_OVERLAY, folder)],
        "images": [{"name": "mlpipeline/operator", "newName": name, "newTag": tag}],
        "configMapGenerator": [
            {
                "name": "mlpipeline-operator-settings",
                "namespace": NAMESPACE,
                "behavior": "merge",
                "literals": settings,
            }
        ],
    }
    # JSON is YAML: no library is needed to write it.
    (folder / "kustomization.yaml").write_text(json.dumps(overlay, indent=2) + "\n")
    return folder
