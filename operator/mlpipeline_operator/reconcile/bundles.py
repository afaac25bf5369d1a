"""Reconcile the DAG bundle of one Airflow: which pipelines' DAGs are in its current version.

Each version is an immutable ConfigMap that lists path -> ConfigMap, and a pointer names the current one. Many
pipelines that change at once make one version, since the queue handles the bundle once for all of them.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from itertools import pairwise

from mlpipeline_operator import names
from mlpipeline_operator.build.bundle import bundle_manifests
from mlpipeline_operator.build.delivery import bundle_files
from mlpipeline_operator.context import Context, owner_of
from mlpipeline_operator.kinds import AIRFLOW, PIPELINE, RUN
from mlpipeline_operator.routing import is_gone, pipeline_airflow
from mlpipeline_operator.status.run import is_finished
from mlpipeline_operator.store import Body

__all__ = ["reconcile_bundle"]

# Versions that are kept besides those that an unfinished run may use, so that a task which somebody clears in
# Airflow's UI soon after still finds its code.
_KEPT_VERSIONS = 10
# How long before a run's creation the version that it uses may have been made current at the latest.
_MARGIN = timedelta(minutes=10)


async def reconcile_bundle(context: Context, namespace: str, airflow: str) -> float | None:
    """Write the bundle's current version, if the set of DAGs is another one, and drop old ones."""
    body = context.store.get(AIRFLOW, namespace, airflow)
    if body is None or is_gone(body):
        return None
    current: dict[str, tuple[str, str]] | None = None
    files: dict[str, tuple[str, str]] = {}
    for pipeline in context.store.of_kind(PIPELINE, namespace):
        name = pipeline["metadata"]["name"]
        if pipeline_airflow(pipeline) != airflow or "deletionTimestamp" in pipeline["metadata"]:
            continue
        if (namespace, name) not in context.pipelines:
            # After a restart, wait for the first look at every pipeline: a version without the others' DAGs
            # would make Airflow drop them. The last of them enqueues this bundle again.
            return None
        placed = context.pipelines[namespace, name]
        if placed is not None:
            files |= bundle_files(placed.value, placed.config_map)
        elif (namespace, name) not in context.conflicts:
            # An edit that is not valid leaves the DAG that was there in place.
            folders = {name, names.dag_folder(name)}
            current = _current_files(context, namespace, airflow) if current is None else current
            files |= {path: source for path, source in current.items() if path.partition("/")[0] in folders}
    version, pointer = bundle_manifests(owner_of(body), files)
    is_new = await context.ensure(version)
    if await context.ensure(pointer) or is_new:
        # There may be many, and each must be read.
        await _prune(context, namespace, airflow, version["metadata"]["name"])
    return None


def _current_files(context: Context, namespace: str, airflow: str) -> dict[str, tuple[str, str]]:
    pointer = context.store.get("ConfigMap", namespace, names.bundle_pointer(airflow))
    version = context.store.get(
        "ConfigMap", namespace, ((pointer or {}).get("data") or {}).get("version", "")
    )
    return _files(version) if version is not None else {}


def _files(version: Body) -> dict[str, tuple[str, str]]:
    manifest = json.loads((version.get("data") or {}).get("manifest.json") or "{}")
    return {path: (entry["configMap"], entry["key"]) for path, entry in (manifest.get("files") or {}).items()}


async def _prune(context: Context, namespace: str, airflow: str, current: str) -> None:
    """Delete versions that no run can use any more, and DAG ConfigMaps that no kept version names."""
    config_maps = context.store.labelled(names.AIRFLOW_LABEL, namespace, airflow, "ConfigMap")
    versions = sorted(
        (each for each in config_maps if _role(each) == "bundle-version"),
        key=lambda each: (each["metadata"]["name"] == current, each["metadata"]["creationTimestamp"]),
    )
    oldest_use = min(
        (
            _moment(run["metadata"]["creationTimestamp"])
            for run in context.store.of_kind(RUN, namespace)
            if not is_finished(run)
        ),
        default=context.now(),
    )
    kept = versions[-_KEPT_VERSIONS:]
    for version, successor in list(pairwise(versions))[: max(len(versions) - _KEPT_VERSIONS, 0)]:
        if _moment(successor["metadata"]["creationTimestamp"]) < oldest_use - _MARGIN:
            await context.delete(version)
        else:
            kept.append(version)
    named = {config_map for version in kept for config_map, _ in _files(version).values()}
    wanted = {placed.config_map for placed in context.pipelines.values() if placed is not None}
    for config_map in config_maps:
        if _role(config_map) == "dag" and config_map["metadata"]["name"] not in named | wanted:
            await context.delete(config_map)


def _role(body: Body) -> str:
    return str((body["metadata"].get("labels") or {}).get(names.ROLE_LABEL, ""))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
