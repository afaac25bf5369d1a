"""What can be set on the operator, by flag or environment variable (see ``__main__``)."""

from __future__ import annotations

from dataclasses import dataclass

from mlpipeline_operator.names import AIRFLOW_URL_TEMPLATE
from mlpipeline_operator.values import Images

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The operator's settings.

    Attributes:
        images: What managed Airflows and trainings run where the user names no image.
        namespaces: Where to work; empty for the whole cluster.
        auto_create_airflow: Whether a pipeline that names the Airflow ``default`` gets one.
        own_namespace: Where the operator's Lease lies.
        identity: Who holds the Lease.
        http_port: Port of ``/healthz``, ``/readyz`` and ``/metrics``; 0 for any free one.
        workers: How many resources are reconciled at the same time.
        airflow_poll_active: Seconds between two polls of an Airflow in which something is awaited.
        airflow_poll_idle: Seconds between two polls of one in which nothing is.
        airflow_url_template: Where the operator reaches a managed Airflow: ``{service}``, ``{namespace}`` and
            ``{port}`` are filled in. Another one lets the operator run outside the cluster.
    """

    images: Images
    namespaces: tuple[str, ...] = ()
    auto_create_airflow: bool = True
    own_namespace: str = "default"
    identity: str = "mlpipeline-operator"
    http_port: int = 8080
    workers: int = 16
    airflow_poll_active: float = 1.0
    airflow_poll_idle: float = 30.0
    airflow_url_template: str = AIRFLOW_URL_TEMPLATE
