"""The status of an ``Airflow`` that somebody else runs, and what to say of a DAG that does not reach it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from mlpipeline_operator import names
from mlpipeline_operator.errors import OperatorError, TransientError
from mlpipeline_operator.status.conditions import Condition, merge_conditions
from mlpipeline_operator.values import ExternalAirflowValue

__all__ = ["Seen", "external_status", "undelivered"]

Body = Mapping[str, Any]

# Without these no run goes on.
_NEEDED: Final = ("metadatabase", "scheduler", "dag_processor")
_REASONS: Final = {
    "AirflowUnauthorized": "BadCredentials",
    "AirflowForbidden": "NotAllowed",
    "AirflowTLS": "CertificateNotTrusted",
    "AirflowTimeout": "AirflowUnreachable",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What the operator sees of an Airflow.

    Attributes:
        version: Its version, ``None`` before it was asked.
        is_synced: Whether the last answers were good ones.
        error: Why they were not.
        components: Airflow's word (``healthy``, ``unhealthy``, ``None``) by part.
    """

    version: str | None = None
    is_synced: bool = False
    error: OperatorError | None = None
    components: Mapping[str, str | None] = field(default_factory=dict)


def external_status(value: ExternalAirflowValue, body: Body, seen: Seen, *, now: datetime) -> dict[str, Any]:
    """Compute the status of an external Airflow; what was true stays so until it was asked again.

    Args:
        value: The validated resource.
        body: The resource as observed.
        seen: What the operator sees of the Airflow now.
        now: The time to use for new transitions.
    """
    previous = body.get("status") or {}
    generation = body["metadata"].get("generation", 0)
    if not seen.is_synced and seen.error is None and previous.get("observedGeneration") == generation:
        return dict(previous)
    state, conditions = _conditions(value, seen)
    shown = {name: word for name, word in seen.components.items() if word is not None}
    components = [{"name": name.replace("_", "-"), "ready": word} for name, word in shown.items()]
    status = {
        "observedGeneration": generation,
        "state": state,
        "message": conditions[0].message,
        "version": seen.version or previous.get("version"),
        "url": value.url,
        "components": components or previous.get("components"),
        "access": {"passwordSecret": value.secret},
        "conditions": merge_conditions(
            previous.get("conditions") or (), conditions, generation=generation, now=now
        ),
    }
    return {key: each for key, each in status.items() if each not in (None, [])}


def undelivered(namespace: str, airflow: str, dag_hash: str) -> str:
    """What to do where an external Airflow does not show a pipeline's DAG."""
    bundle = {
        "name": namespace,
        "classpath": "mlpipeline_dags.bundle.ConfigMapDagBundle",
        "kwargs": {"namespace": namespace, "pointer": names.bundle_pointer(airflow), "refresh_interval": 1},
    }
    return (
        f"the external Airflow {airflow} does not show DAG version {dag_hash}. It takes DAGs from this"
        " namespace once (1) its components and workers have the Python package mlpipeline_dags (dags/ in the"
        " operator's source), (2) [dag_processor] dag_bundle_config_list there holds"
        f" {json.dumps(bundle)}, and (3) its dag-processor and workers may get ConfigMaps in namespace"
        f" {namespace}"
    )


def _conditions(value: ExternalAirflowValue, seen: Seen) -> tuple[str, list[Condition]]:
    if seen.error is not None:
        reason, message = _REASONS.get(seen.error.reason, seen.error.reason), seen.error.message
        if isinstance(seen.error, TransientError):
            return "Pending", _not_ready("Reconciling", reason, message)
        return "Invalid", _not_ready("Stalled", reason, message)
    if not seen.is_synced:
        return "Pending", _not_ready("Reconciling", "Connecting", f"connecting to {value.url}")
    away = [name for name in _NEEDED if seen.components.get(name) != "healthy"]
    if away:
        message = f"waiting for {', '.join(away).replace('_', '-')}"
        return "Pending", _not_ready("Reconciling", "ComponentsNotReady", message)
    ready = Condition("Ready", "True", "Connected", f"connected to Airflow {seen.version} at {value.url}")
    return "Running", [ready]


def _not_ready(kind: str, reason: str, message: str) -> list[Condition]:
    return [Condition("Ready", "False", reason, message), Condition(kind, "True", reason, message)]
