"""All children of a managed Airflow, in the order in which to apply them."""

from __future__ import annotations

from typing import Any

from mlpipeline_operator.build.airflow.artifacts import artifacts_claim
from mlpipeline_operator.build.airflow.config import config_map
from mlpipeline_operator.build.airflow.database import database_manifests
from mlpipeline_operator.build.airflow.files import files_config_map
from mlpipeline_operator.build.airflow.rbac import role_bindings, roles, service_accounts
from mlpipeline_operator.build.airflow.services import api_service
from mlpipeline_operator.build.airflow.workloads import deployments
from mlpipeline_operator.values import AirflowValue

__all__ = ["airflow_manifests"]


def airflow_manifests(value: AirflowValue) -> list[dict[str, Any]]:
    """Return every child but the Secrets, so ordered that what a pod needs comes before the pod.

    Nothing here depends on the DAGs that the Airflow runs: a changed pipeline rolls no pod.
    """
    return [
        *service_accounts(value),
        *roles(value),
        *role_bindings(value),
        config_map(value),
        files_config_map(value),
        artifacts_claim(value),
        api_service(value),
        *database_manifests(value),
        *deployments(value),
    ]
