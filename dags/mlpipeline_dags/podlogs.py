"""Task logs in Airflow's UI, read from the pods that ran the tasks, also after they have ended.

Step pods stay until their run is deleted; without this Airflow reads a pod's log only while its task runs,
and then wants a log server or a bucket. For the api-server alone::

    AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS=mlpipeline_dags.podlogs.LOGGING_CONFIG
"""

from __future__ import annotations

import os
from typing import Any

from airflow.config_templates.airflow_local_settings import DEFAULT_LOGGING_CONFIG
from airflow.configuration import conf
from airflow.providers.cncf.kubernetes.pod_generator import make_safe_label_value

from mlpipeline_dags.kube import Cluster, KubernetesError

LOGGING_CONFIG = DEFAULT_LOGGING_CONFIG
CONTAINER = "base"
RUNNING = "running"


def pod_namespace(ti: Any) -> str | None:
    """Return the namespace of a task's pod, as KubernetesExecutor finds it; None for Airflow's own."""
    pod = (ti.executor_config or {}).get("pod_override")
    named = getattr(getattr(pod, "metadata", None), "namespace", None)
    return named or conf.get("kubernetes_executor", "namespace", fallback=None)


class PodLogs:
    """Airflow's ``RemoteLogIO`` over the logs of pods; there is nothing to upload."""

    processors: tuple[Any, ...] = ()

    def __init__(self, cluster: Cluster | None = None) -> None:
        self._cluster = cluster or Cluster()

    def upload(self, path: os.PathLike[str] | str, ti: Any = None) -> None:
        """Nothing: the pod's log is where it is."""

    def read(self, relative_path: str, ti: Any) -> tuple[list[str], list[str] | None]:
        """Return where the log of a task's attempt was looked for, and the log if it is there.

        Args:
            relative_path: Where Airflow would keep the log file; its name is the attempt's number.
            ti: Airflow's task instance.
        """
        if ti.state == RUNNING:
            return [], None  # the executor reads it, from the same pod
        attempt = relative_path.rpartition("attempt=")[2].partition(".")[0] or str(ti.try_number)
        labels = {
            "dag_id": make_safe_label_value(ti.dag_id),
            "run_id": make_safe_label_value(ti.run_id),
            "task_id": make_safe_label_value(ti.task_id),
            "try_number": attempt,
            "kubernetes_executor": "True",
        }
        if ti.map_index >= 0:
            labels["map_index"] = str(ti.map_index)
        try:
            namespace = pod_namespace(ti) or self._cluster.namespace
            pods = self._cluster.pods(namespace, labels)
            if not pods:
                return [f"The pod of attempt {attempt} is gone, and its log with it"], None
            name = pods[-1]["metadata"]["name"]
            lines = self._cluster.pod_log(namespace, name, CONTAINER)
            return [f"Log of pod {namespace}/{name}"], ["\n".join(lines)]
        except KubernetesError as error:
            return [f"Reading the pod's log failed: {error}"], None


REMOTE_TASK_LOG = PodLogs()
