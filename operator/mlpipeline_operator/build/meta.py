"""The metadata that every child of ours carries: name, labels and, where it is owned, its owner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlpipeline_operator.values import Owner

__all__ = ["object_meta", "owner_reference"]


def object_meta(
    owner: Owner,
    name: str,
    labels: Mapping[str, str],
    *,
    annotations: Mapping[str, str] | None = None,
    owned: bool = True,
) -> dict[str, Any]:
    """Return the ``metadata`` of a child in its owner's namespace.

    Args:
        owner: The resource that the child belongs to.
        name: The child's name.
        labels: The child's own labels; the owner's are never copied (Argo CD would prune the child).
        annotations: The child's annotations, if any.
        owned: Whether Kubernetes deletes the child with its owner. False for what outlives it.
    """
    meta: dict[str, Any] = {"name": name, "namespace": owner.namespace, "labels": dict(labels)}
    if annotations:
        meta["annotations"] = dict(annotations)
    if owned:
        meta["ownerReferences"] = [owner_reference(owner)]
    return meta


def owner_reference(owner: Owner) -> dict[str, Any]:
    """Return the reference by which Kubernetes deletes a child with ``owner``."""
    return {
        "apiVersion": owner.api_version,
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
