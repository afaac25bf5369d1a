"""The one module that knows Airflow: its REST API, its words, its moods.

``AirflowClient`` asks and tells; ``AirflowPoller`` keeps an ``AirflowView``, which a reconcile reads without
waiting.
"""

from mlpipeline_operator.airflow.client import AirflowClient
from mlpipeline_operator.airflow.models import Dag, DagRun, Health, ImportFailure, RunKey, TaskInstance
from mlpipeline_operator.airflow.poller import AirflowPoller
from mlpipeline_operator.airflow.view import AirflowView, Awaited, AwaitedDag, Change, DagView, RunView

__all__ = [
    "AirflowClient",
    "AirflowPoller",
    "AirflowView",
    "Awaited",
    "AwaitedDag",
    "Change",
    "Dag",
    "DagRun",
    "DagView",
    "Health",
    "ImportFailure",
    "RunKey",
    "RunView",
    "TaskInstance",
]
