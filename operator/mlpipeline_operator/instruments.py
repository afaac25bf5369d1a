"""The operator's Prometheus metrics: names follow ``mlpipeline_operator_<what>_<unit>``."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.process_collector import ProcessCollector

__all__ = ["API_CALLS", "EVENTS_DROPPED", "RECONCILES", "RECONCILE_SECONDS", "REGISTRY"]

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

RECONCILES = Counter(
    "mlpipeline_operator_reconciles_total", "Reconciles, by kind.", ["kind"], registry=REGISTRY
)
RECONCILE_SECONDS = Histogram(
    "mlpipeline_operator_reconcile_seconds", "Duration of a reconcile, by kind.", ["kind"], registry=REGISTRY
)
API_CALLS = Counter(
    "mlpipeline_operator_api_calls_total",
    "Calls to the API server besides the watches, by HTTP method.",
    ["method"],
    registry=REGISTRY,
)
EVENTS_DROPPED = Counter(
    "mlpipeline_operator_events_dropped_total",
    "Events that were not posted: too many at once, or the API server refused.",
    registry=REGISTRY,
)
