"""What a managed Airflow is made of: pure functions from an ``AirflowValue`` to manifests."""

from __future__ import annotations

from mlpipeline_operator.build.airflow.manifests import airflow_manifests
from mlpipeline_operator.build.airflow.secrets import airflow_secrets

__all__ = ["airflow_manifests", "airflow_secrets"]
