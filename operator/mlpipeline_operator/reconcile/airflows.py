"""Reconcile an ``Airflow``: its secrets once, its workloads always, its connection while it is up."""

from __future__ import annotations

from typing import Any

from mlpipeline_operator import names
from mlpipeline_operator.build.airflow import airflow_manifests, airflow_secrets
from mlpipeline_operator.cluster import Manifest
from mlpipeline_operator.context import BUNDLE, Context
from mlpipeline_operator.endpoints import external_endpoint
from mlpipeline_operator.errors import SpecError
from mlpipeline_operator.kinds import AIRFLOW, OWNED
from mlpipeline_operator.reconcile.deletion import USERS_AGAIN_SECONDS, deletion_waits_for, hold_deletion
from mlpipeline_operator.reconcile.starting import mirrored_since
from mlpipeline_operator.status.airflow import airflow_status, invalid_airflow_status, with_waiting_deletion
from mlpipeline_operator.status.conditions import is_true
from mlpipeline_operator.status.external import external_status
from mlpipeline_operator.store import Body
from mlpipeline_operator.validate import is_external, validate_airflow, validate_external_airflow
from mlpipeline_operator.values import AirflowValue

__all__ = ["reconcile_airflow"]

# A deleted Secret is noticed by nobody, since Secrets are not watched: while an Airflow does not come up,
# its secrets are created again (which leaves existing ones alone) this often.
_SECRETS_AGAIN_SECONDS = 60.0


async def reconcile_airflow(context: Context, namespace: str, name: str) -> float | None:
    """Bring one Airflow to what its spec says; level-triggered."""
    body = context.store.get(AIRFLOW, namespace, name)
    users = await deletion_waits_for(context, body) if body is not None else None
    if body is None or users is None:
        await context.connections.drop(namespace, name)
        context.enqueue_airflow_users(namespace, name)
        return None
    if not users:
        await hold_deletion(context, body)
    try:
        if is_external(body):
            again = None
            await _connect(context, body, users)
        else:
            again = await _bring_up(context, body, validate_airflow(body, context.settings.images), users)
    except SpecError as error:
        again = None
        if await _write(context, body, invalid_airflow_status(body, error, now=context.now()), users):
            context.enqueue_airflow_users(namespace, name)
    # Whoever uses it may be gone by then.
    return USERS_AGAIN_SECONDS if users else again


async def _write(context: Context, body: Body, status: dict[str, Any], users: list[str]) -> bool:
    if users:
        status = with_waiting_deletion(status, body, users, now=context.now())
    return await context.write_status(body, status)


async def _bring_up(context: Context, body: Body, value: AirflowValue, users: list[str]) -> float | None:
    namespace, name = value.owner.namespace, value.owner.name
    was_ready = is_true(body.get("status"), "Ready")
    if not was_ready and context.connections.secrets_due(namespace, name, _SECRETS_AGAIN_SECONDS):
        for secret in airflow_secrets(value):
            await context.cluster.create(secret)
    manifests = airflow_manifests(value)
    changed = await context.ensure_all(manifests) > 0
    context.enqueue((BUNDLE, namespace, name))
    await _prune(context, value, manifests)

    children = context.store.labelled(names.AIRFLOW_LABEL, namespace, name)
    workloads = [child for child in children if child["kind"] in ("Deployment", "StatefulSet")]
    pods = [child for child in children if child["kind"] == "Pod"]
    status = airflow_status(value, body, workloads, pods, now=context.now(), changed=changed)
    await _write(context, body, status, users)

    is_ready = is_true(status, "Ready")
    if is_ready or was_ready:
        # Once it was up the connection stays: the poller tells when the API is away and comes back.
        since = mirrored_since(context, namespace, name)
        context.connections.open(namespace, name, value.owner.uid, since)
    if is_ready != was_ready or not body.get("status"):
        # Of a new one, too: a pipeline may have been told that there is no such Airflow.
        context.enqueue_airflow_users(namespace, name)
    return None if is_ready else _SECRETS_AGAIN_SECONDS


async def _connect(context: Context, body: Body, users: list[str]) -> None:
    """Reach an Airflow that somebody else runs; the connection tells when there is something new."""
    value = validate_external_airflow(body)
    namespace, name = value.owner.namespace, value.owner.name
    since = mirrored_since(context, namespace, name)
    context.connections.open(namespace, name, value.owner.uid, since, external_endpoint(value))
    # For a bundle of ours that is installed there.
    context.enqueue((BUNDLE, namespace, name))
    status = external_status(value, body, context.connections.seen(namespace, name), now=context.now())
    was_ready = is_true(body.get("status"), "Ready")
    if await _write(context, body, status, users) and was_ready != is_true(status, "Ready"):
        context.enqueue_airflow_users(namespace, name)


async def _prune(context: Context, value: AirflowValue, manifests: list[Manifest]) -> None:
    """Delete what an earlier spec (or operator) made and this one does not want; never data."""
    wanted = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests}
    kinds = set(OWNED) - {"Pod", "PersistentVolumeClaim"}
    for child in context.store.labelled(names.AIRFLOW_LABEL, value.owner.namespace, value.owner.name, *kinds):
        metadata = child["metadata"]
        owned = any(owner.get("uid") == value.owner.uid for owner in metadata.get("ownerReferences") or ())
        is_dag = names.ROLE_LABEL in (metadata.get("labels") or {})
        if owned and not is_dag and (child["kind"], metadata["name"]) not in wanted:
            await context.delete(child)
