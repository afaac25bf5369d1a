"""A file for Airflow that cannot be imported."""

from airflow.sdk import DAG  # noqa: F401

import a_module_that_is_not_there  # isort: skip  # noqa: F401
