"""The Service before the api-server: the UI, the REST API, and what the tasks report to."""

from __future__ import annotations

from typing import Any

from mlpipeline_operator import names
from mlpipeline_operator.build.meta import object_meta
from mlpipeline_operator.values import AirflowValue

__all__ = ["api_service"]


def api_service(value: AirflowValue) -> dict[str, Any]:
    """Return the api-server's Service, of the type that the user chose."""
    name = value.owner.name
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": object_meta(
            value.owner,
            names.airflow_component(name, "api-server"),
            names.airflow_labels(name, "api-server"),
        ),
        "spec": {
            "type": value.service_type,
            "selector": names.airflow_selector(name, "api-server"),
            "ports": [{"name": "http", "port": names.AIRFLOW_PORT, "targetPort": "http", "protocol": "TCP"}],
        },
    }
