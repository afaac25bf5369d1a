"""The kinds of object that the operator reads or writes, and where the API server serves them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mlpipeline_operator.names import GROUP, MANAGED_BY, MANAGED_BY_LABEL, VERSION

__all__ = ["KINDS", "OWN", "OWNED", "OWNED_SELECTOR", "Kind", "kind_of"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A namespaced kind: its name, API group, version and the plural in its URL."""

    kind: str
    group: str
    version: str
    plural: str

    @property
    def api_version(self) -> str:
        """``group/version``, or the bare version of the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def collection(self, namespace: str | None) -> str:
        """URL path of all objects of a namespace, or of all namespaces."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return f"{root}/{self.plural}" if namespace is None else self.path(namespace)

    def path(self, namespace: str, name: str | None = None, subresource: str | None = None) -> str:
        """URL path of the collection, of one object, or of its subresource."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root, "namespaces", namespace, self.plural, name, subresource]
        return "/".join(part for part in parts if part)


PIPELINE: Final = "MLPipeline"
RUN: Final = "MLPipelineRun"
AIRFLOW: Final = "Airflow"

_ALL = (
    Kind(PIPELINE, GROUP, VERSION, "mlpipelines"),
    Kind(RUN, GROUP, VERSION, "mlpipelineruns"),
    Kind(AIRFLOW, GROUP, VERSION, "airflows"),
    Kind("ConfigMap", "", "v1", "configmaps"),
    Kind("Secret", "", "v1", "secrets"),
    Kind("Service", "", "v1", "services"),
    Kind("ServiceAccount", "", "v1", "serviceaccounts"),
    Kind("PersistentVolumeClaim", "", "v1", "persistentvolumeclaims"),
    Kind("Pod", "", "v1", "pods"),
    Kind("Event", "events.k8s.io", "v1", "events"),
    Kind("Deployment", "apps", "v1", "deployments"),
    Kind("StatefulSet", "apps", "v1", "statefulsets"),
    Kind("Role", "rbac.authorization.k8s.io", "v1", "roles"),
    Kind("RoleBinding", "rbac.authorization.k8s.io", "v1", "rolebindings"),
    Kind("Lease", "coordination.k8s.io", "v1", "leases"),
)

KINDS: Final = {kind.kind: kind for kind in _ALL}

# What users write, and what the operator makes of it: both are watched, the second narrowed by our label.
# Secrets are never watched: a watch would hold every password of a namespace in memory.
OWN: Final = (PIPELINE, RUN, AIRFLOW)
OWNED: Final = (
    "ConfigMap",
    "Service",
    "ServiceAccount",
    "PersistentVolumeClaim",
    "Pod",
    "Deployment",
    "StatefulSet",
    "Role",
    "RoleBinding",
)
OWNED_SELECTOR: Final = f"{MANAGED_BY_LABEL}={MANAGED_BY}"


def kind_of(manifest: dict[str, object]) -> Kind:
    """Return the ``Kind`` of a manifest; ``KeyError`` for one that the operator does not handle."""
    return KINDS[str(manifest["kind"])]
