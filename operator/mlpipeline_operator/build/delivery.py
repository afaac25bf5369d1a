"""What a pipeline delivers to its Airflow: one DAG file of the operator's, or all files of the user's own."""

from __future__ import annotations

import json
from typing import Any

from mlpipeline_operator import names
from mlpipeline_operator.build.dag import DAG_KEY, dag_config_map, render_dag
from mlpipeline_operator.values import PipelineValue, UserDag

__all__ = ["bundle_files", "dag_file", "delivery"]


def delivery(pipeline: PipelineValue) -> tuple[str, dict[str, Any]]:
    """Return the hash by which Airflow shows what it has, and the immutable ConfigMap with the files."""
    own = pipeline.user_dag
    if own is None:
        rendered = render_dag(pipeline)
        return rendered.hash, dag_config_map(pipeline, rendered.hash, {DAG_KEY: rendered.text})
    digest = names.short_hash(json.dumps(dict(own.files), sort_keys=True))
    data = {names.file_key(path): text for path, text in own.files.items()}
    return digest, dag_config_map(pipeline, digest, data | {names.file_key(names.HASH_FILE): digest})


def bundle_files(pipeline: PipelineValue, config_map: str) -> dict[str, tuple[str, str]]:
    """Return where each of the pipeline's files comes from: path in the bundle -> ConfigMap and key in it."""
    own = pipeline.user_dag
    if own is None:
        return {dag_file(pipeline): (config_map, DAG_KEY)}
    paths = (*own.files, names.HASH_FILE)
    return {_path(pipeline, path): (config_map, names.file_key(path)) for path in paths}


def dag_file(pipeline: PipelineValue) -> str:
    """Return the path in the bundle of the file that the pipeline's DAG is in."""
    own: UserDag | None = pipeline.user_dag
    return _path(pipeline, own.path) if own is not None else names.dag_path(pipeline.owner.name)


def _path(pipeline: PipelineValue, path: str) -> str:
    return f"{names.dag_folder(pipeline.owner.name)}/{path}"
