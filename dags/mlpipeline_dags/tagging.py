"""A policy of Airflow's that tags the DAGs in users' own files: so the operator sees what it has parsed.

A DAG that the operator renders carries its hash as a tag. A user's file is delivered as it is; beside it lies
``~hash``, and what that says becomes the tag when the file is parsed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from airflow import settings
from airflow.policies import hookimpl

HASH_FILE = "~hash"
TAG = "mlpipelines.dev"
HASH_TAG = "mlpipelines.dev/dag-hash="


@hookimpl  # type: ignore[untyped-decorator]
def dag_policy(dag: Any) -> None:
    """Tag a DAG whose file has a hash beside it, or above it within its bundle."""
    for folder in Path(dag.fileloc).parents:
        try:
            text = (folder / HASH_FILE).read_text(encoding="utf-8").strip()
        except OSError:
            continue
        dag.tags.update({TAG, f"{HASH_TAG}{text}"})
        return


def register() -> None:
    """Have Airflow call the policy in this process and in those that it forks."""
    manager = settings.get_policy_plugin_manager()
    module = sys.modules[__name__]
    if not manager.is_registered(module):
        manager.register(module)
