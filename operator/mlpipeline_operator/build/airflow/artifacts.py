"""The volume that an Airflow's pipelines share for checkpoints and models."""

from __future__ import annotations

from typing import Any

from mlpipeline_operator import names
from mlpipeline_operator.build.meta import object_meta
from mlpipeline_operator.values import AirflowValue

__all__ = ["artifacts_claim"]


def artifacts_claim(value: AirflowValue) -> dict[str, Any]:
    """Return the claim; it has no owner, and so outlives the Airflow, where the value says to retain."""
    spec: dict[str, Any] = {
        "accessModes": list(value.artifacts.access_modes),
        "resources": {"requests": {"storage": value.artifacts.size}},
    }
    if value.artifacts.storage_class is not None:
        spec["storageClassName"] = value.artifacts.storage_class
    name = value.owner.name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": object_meta(
            value.owner,
            names.airflow_artifacts_claim(name),
            names.airflow_labels(name),
            owned=not value.retain,
        ),
        "spec": spec,
    }
