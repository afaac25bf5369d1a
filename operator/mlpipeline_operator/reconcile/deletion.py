"""The deletion of an ``Airflow``: it waits while pipelines use it, except when its namespace goes."""

from __future__ import annotations

from typing import Final

from mlpipeline_operator import names
from mlpipeline_operator.context import Context
from mlpipeline_operator.kinds import PIPELINE
from mlpipeline_operator.routing import is_gone, pipeline_airflow
from mlpipeline_operator.store import Body

__all__ = ["USERS_AGAIN_SECONDS", "deletion_waits_for", "hold_deletion"]

USERS_AGAIN_SECONDS: Final = 3.0


async def hold_deletion(context: Context, body: Body) -> None:
    """Put the finalizer on an Airflow that somebody created, unless it is there."""
    finalizers = list(body["metadata"].get("finalizers") or ())
    if names.AIRFLOW_FINALIZER not in finalizers:
        await _set(context, body, [*finalizers, names.AIRFLOW_FINALIZER])


async def deletion_waits_for(context: Context, body: Body) -> list[str] | None:
    """The pipelines that the deletion of an Airflow waits for.

    Returns:
        Their names; none if it is not to be deleted; ``None`` if it goes now (its finalizer is removed).
    """
    metadata = body["metadata"]
    if "deletionTimestamp" not in metadata:
        return []
    if is_gone(body):
        return None
    namespace, name = metadata["namespace"], metadata["name"]
    users = sorted(
        pipeline["metadata"]["name"]
        for pipeline in context.store.of_kind(PIPELINE, namespace)
        if pipeline_airflow(pipeline) == name and "deletionTimestamp" not in pipeline["metadata"]
    )
    finalizers = metadata["finalizers"]
    # A deletion in the foreground has deleted its parts already.
    may_wait = bool(users) and "foregroundDeletion" not in finalizers
    if may_wait and not await context.cluster.namespace_is_going(namespace):
        return users
    await _set(context, body, [each for each in finalizers if each != names.AIRFLOW_FINALIZER])
    return None


async def _set(context: Context, body: Body, finalizers: list[str]) -> None:
    metadata = body["metadata"]
    patch = {"finalizers": finalizers, "resourceVersion": metadata["resourceVersion"]}
    await context.patch_metadata(body, patch)
