"""The DAG bundle of an Airflow: one immutable ConfigMap per version, and one that points to the current.

``mlpipeline_dags.bundle`` in Airflow's image reads them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mlpipeline_operator import names
from mlpipeline_operator.build.meta import object_meta
from mlpipeline_operator.values import Owner

__all__ = ["bundle_manifests"]


def bundle_manifests(
    airflow: Owner, files: Mapping[str, tuple[str, str]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the ConfigMaps of a bundle's version and of the pointer to it; apply them in this order.

    Args:
        airflow: The Airflow whose bundle it is.
        files: Path below the bundle's root -> name of the ConfigMap that holds the file, and its key there.
    """
    version = names.bundle_version(airflow.name, {path: "/".join(source) for path, source in files.items()})
    sources = {path: {"configMap": source[0], "key": source[1]} for path, source in sorted(files.items())}
    manifest = {"files": sources}
    return (
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": object_meta(airflow, version, _labels(airflow, "bundle-version")),
            "immutable": True,
            "data": {"manifest.json": json.dumps(manifest, sort_keys=True)},
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": object_meta(airflow, names.bundle_pointer(airflow.name), _labels(airflow, "bundle")),
            "data": {"version": version},
        },
    )


def _labels(airflow: Owner, role: str) -> dict[str, str]:
    return {**names.airflow_labels(airflow.name), names.ROLE_LABEL: role}
