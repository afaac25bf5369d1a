"""Who each part of Airflow is to the API server, and the little that it may do, in its own namespace only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mlpipeline_operator import names
from mlpipeline_operator.build.meta import object_meta
from mlpipeline_operator.values import AirflowValue

__all__ = ["NEEDS_API_SERVER", "WORKER", "role_bindings", "roles", "service_accounts"]

WORKER: Final = "worker"

_RBAC = "rbac.authorization.k8s.io"


def _rule(resources: Sequence[str], verbs: Sequence[str]) -> dict[str, list[str]]:
    return {"apiGroups": [""], "resources": list(resources), "verbs": list(verbs)}


# Per role, and why. Who is not named here never talks to the API server and gets no token.
_RULES: Final[Mapping[str, list[dict[str, list[str]]]]] = {
    # Shows the log of a step from its pod.
    "api-server": [_rule(["pods"], ["get", "list"]), _rule(["pods/log"], ["get"])],
    # KubernetesExecutor: starts, watches, labels, adopts and stops the workers' pods.
    "scheduler": [_rule(["pods"], ["create", "delete", "get", "list", "patch", "watch"])],
    # The DAG bundle.
    "dag-processor": [_rule(["configmaps"], ["get"])],
    WORKER: [_rule(["configmaps"], ["get"])],
    # KubernetesPodOperator, for steps with images of their own: no code of a user's runs in these workers.
    names.LAUNCHER_ROLE: [
        _rule(["configmaps"], ["get"]),
        _rule(["pods"], ["create", "delete", "get", "list", "patch"]),
        _rule(["pods/log"], ["get"]),
    ],
}

NEEDS_API_SERVER: Final = frozenset(_RULES)


def service_accounts(value: AirflowValue) -> list[dict[str, Any]]:
    """Return a ServiceAccount for each component, one for the workers and one for those that start pods.

    None hands out a token by itself: the pods that need one ask for it.
    """
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": _meta(value, role),
            "automountServiceAccountToken": False,
        }
        for role in (*names.COMPONENTS, WORKER, names.LAUNCHER_ROLE)
    ]


def roles(value: AirflowValue) -> list[dict[str, Any]]:
    """Return the Roles of those that talk to the API server."""
    return [
        {"apiVersion": f"{_RBAC}/v1", "kind": "Role", "metadata": _meta(value, role), "rules": rules}
        for role, rules in _RULES.items()
    ]


def role_bindings(value: AirflowValue) -> list[dict[str, Any]]:
    """Return the RoleBindings that give each Role to the ServiceAccount of the same name."""
    return [
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": _meta(value, role),
            "roleRef": {
                "apiGroup": _RBAC,
                "kind": "Role",
                "name": names.airflow_service_account(value.owner.name, role),
            },
            "subjects": [
                {
                    "kind": "ServiceAccount",
                    "name": names.airflow_service_account(value.owner.name, role),
                    "namespace": value.owner.namespace,
                }
            ],
        }
        for role in _RULES
    ]


def _meta(value: AirflowValue, role: str) -> dict[str, Any]:
    name = value.owner.name
    return object_meta(
        value.owner, names.airflow_service_account(name, role), names.airflow_labels(name, role)
    )
