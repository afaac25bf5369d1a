"""Airflow needs its settings before it is imported: a home of its own, no database, no examples."""

from __future__ import annotations

import os
import tempfile

_HOME = tempfile.mkdtemp(prefix="airflow-tests-")
os.environ.update(
    AIRFLOW_HOME=_HOME,
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH=f"{_HOME}/bundles",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{_HOME}/airflow.db",
)
os.environ.pop("AIRFLOW_IS_K8S_EXECUTOR_POD", None)


def pytest_unconfigure() -> None:
    """Remove Airflow's home."""
    import shutil

    shutil.rmtree(_HOME, ignore_errors=True)
