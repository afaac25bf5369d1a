"""The files that Airflow's components mount: the worker's pod template and our scripts."""

from __future__ import annotations

import json
from functools import cache, lru_cache
from importlib import resources
from typing import Any, Final

import yaml

from mlpipeline_operator import names
from mlpipeline_operator.build.airflow.config import POD_TEMPLATE, settings
from mlpipeline_operator.build.airflow.pods import FILES_MOUNT
from mlpipeline_operator.build.airflow.worker import pod_template
from mlpipeline_operator.build.meta import object_meta
from mlpipeline_operator.values import AirflowValue

__all__ = ["config_hash", "files_config_map", "files_volume", "script"]

_SCRIPTS: Final = ("health", "start")


def script(name: str) -> str:
    """Return the path of a script inside a component's container."""
    return f"{FILES_MOUNT}/{name}.py"


def files_config_map(value: AirflowValue) -> dict[str, Any]:
    """Return the ConfigMap with the files."""
    name = value.owner.name
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": object_meta(value.owner, names.airflow_files(name), names.airflow_labels(name)),
        "data": _files(value),
    }


def files_volume(value: AirflowValue) -> dict[str, Any]:
    """Return the volume ``files``, to be mounted at ``FILES_MOUNT``."""
    return {"name": "files", "configMap": {"name": names.airflow_files(value.owner.name)}}


def config_hash(value: AirflowValue) -> str:
    """Return a hash of all that a running component read at its start."""
    return names.short_hash(json.dumps([settings(value), _files(value)], sort_keys=True))


def _files(value: AirflowValue) -> dict[str, str]:
    files = {f"{name}.py": _source(name) for name in _SCRIPTS}
    files[POD_TEMPLATE] = _as_yaml(json.dumps(pod_template(value)))
    return files


@lru_cache(maxsize=128)
def _as_yaml(document: str) -> str:
    """Return a JSON document as YAML, for people to read; kept, since writing YAML takes most of a build."""
    return yaml.safe_dump(json.loads(document), sort_keys=False)


@cache
def _source(name: str) -> str:
    folder = resources.files("mlpipeline_operator.build.airflow.scripts")
    return folder.joinpath(f"{name}.py").read_text(encoding="utf-8")
