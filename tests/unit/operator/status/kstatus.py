"""What kstatus says of a custom resource.

After ``sigs.k8s.io/cli-utils/pkg/kstatus/status`` (``Compute``, ``checkGenericProperties``,
``checkGeneration``, ``checkReadyCondition``): deletion first, then the generation, then the abnormal-true
conditions in the order in which they stand, then ``Ready``. Flux, kpt and Argo CD's users wait by it.
"""

from collections.abc import Mapping
from typing import Any, Literal

Verdict = Literal["InProgress", "Failed", "Current", "Terminating"]


def verdict(body: Mapping[str, Any]) -> Verdict:
    """Return kstatus's word for a resource."""
    metadata, status = body["metadata"], body.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return "Terminating"
    generation, observed = metadata.get("generation"), status.get("observedGeneration")
    if generation is not None and observed is not None and generation != observed:
        return "InProgress"
    conditions = status.get("conditions") or []
    for condition in conditions:
        if condition["status"] == "True" and condition["type"] == "Reconciling":
            return "InProgress"
        if condition["status"] == "True" and condition["type"] == "Stalled":
            return "Failed"
    ready = next((each["status"] for each in conditions if each["type"] == "Ready"), "True")
    return "Current" if ready == "True" else "InProgress"
