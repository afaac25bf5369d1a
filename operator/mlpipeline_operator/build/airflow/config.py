"""Airflow's settings: the operator's defaults, and over them the user's.

They are environment variables ``AIRFLOW__SECTION__OPTION`` in one ConfigMap, which the components and the
workers read alike. Nothing secret is among them. What each means is in Airflow's configuration reference;
here is why it is not Airflow's default.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from mlpipeline_operator import names
from mlpipeline_operator.build.airflow.pods import AIRFLOW_HOME, FILES_MOUNT
from mlpipeline_operator.build.meta import object_meta
from mlpipeline_operator.values import AirflowValue

__all__ = ["BUNDLE", "POD_TEMPLATE", "config_map", "settings"]

# Airflow's name of the DAG bundle, and the class that reads it (in the Airflow image).
BUNDLE: Final = "pipelines"
_BUNDLE_CLASS: Final = "mlpipeline_dags.bundle.ConfigMapDagBundle"

POD_TEMPLATE: Final = "pod_template.yaml"

# A pod may wait this long for a node; the operator gives up earlier, at the pipeline's pendingDeadline.
_QUEUED_SECONDS: Final = 2 * 86400


def settings(value: AirflowValue) -> dict[str, str]:
    """Return Airflow's settings as environment variables."""
    found: dict[str, str] = {"AIRFLOW_HOME": AIRFLOW_HOME}
    for layer in (_DEFAULTS, _of(value), value.config):
        for section, options in layer.items():
            for option, text in options.items():
                found[_variable(section, option)] = text
    return found


def config_map(value: AirflowValue) -> dict[str, Any]:
    """Return the ConfigMap with the settings."""
    name = value.owner.name
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": object_meta(value.owner, names.airflow_config(name), names.airflow_labels(name)),
        "data": settings(value),
    }


def _variable(section: str, option: str) -> str:
    return f"AIRFLOW__{section.replace('.', '_').upper()}__{option.upper()}"


_DEFAULTS: Final[Mapping[str, Mapping[str, str]]] = {
    "core": {
        "executor": "KubernetesExecutor",
        "auth_manager": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
        # The pod's name: what kubectl takes, and what the probes look for.
        "hostname_callable": "socket.gethostname",
        "load_examples": "False",
        "dags_are_paused_at_creation": "False",
        # An edited DAG is stored at once.
        "min_serialized_dag_update_interval": "0",
    },
    "api": {"workers": "1", "expose_config": "False"},
    # The init container sets the roles up; several api-servers doing so at once would race.
    "fab": {"update_fab_perms": "False"},
    "database": {
        "sql_alchemy_pool_size": "2",
        "sql_alchemy_max_overflow": "8",
        # Who starts has waited for the migration; this would load alembic in every component.
        "check_migrations": "False",
    },
    "logging": {
        "colored_console_log": "False",
        "dag_processor_log_target": "stdout",
        # Else it tells each second that it refreshes a bundle.
        "namespace_levels": "airflow.dag_processing.manager=WARNING",
    },
    "dag_processor": {
        # How often bundles are asked whether it is time to refresh; ours says: each time.
        "bundle_refresh_check_interval": "1",
        "refresh_interval": "1",
        # A file that changed is parsed at once; this is for those that did not.
        "min_file_process_interval": "300",
        "print_stats_interval": "0",
    },
    "scheduler": {
        "enable_health_check": "True",
        # Half of Airflow's: measured, 0.25 takes 8 % of a core for nothing, and 4 % in the database.
        "scheduler_idle_sleep_time": "0.5",
        # Also how long a task's first token is good for.
        "task_queued_timeout": str(_QUEUED_SECONDS),
        # What a scheduler that died left behind is adopted soon by the next.
        "orphaned_tasks_check_interval": "30",
        # A worker that cannot reach the api-server for 15 minutes is not taken for dead: a pod that really
        # died is seen by the executor's watch.
        "task_instance_heartbeat_timeout": "3600",
    },
    "workers": {
        # Nothing that is away for a while ends a training, and one that ends meanwhile still says so: it
        # tries for an hour, as long as the scheduler waits for its heartbeats. A wait is 5.5 s on average.
        "max_failed_heartbeats": "100000",
        "execution_api_retries": "700",
        "execution_api_retry_wait_max": "10",
        # An api-server on a busy machine may need more than Airflow's 5 s for its first answer.
        "execution_api_timeout": "30",
    },
    # A task's token is renewed by its heartbeats: it must outlive an outage.
    "execution_api": {"jwt_expiration_time": "86400"},
    "kubernetes_executor": {
        "pod_template_file": f"{FILES_MOUNT}/{POD_TEMPLATE}",
        # They stay for their logs; the operator removes them with their run.
        "delete_worker_pods": "False",
        "delete_worker_pods_on_failure": "False",
        "worker_pods_creation_batch_size": "16",
        # A quota that is used up, or an API server that is away, fails no task.
        "task_publish_max_retries": "-1",
        # Not an image that cannot be pulled just now: the kubelet tries again, the operator tells the user.
        "worker_pod_pending_fatal_container_state_reasons": "InvalidImageName",
        "running_pod_log_lines": "1000",
    },
}


def _of(value: AirflowValue) -> Mapping[str, Mapping[str, str]]:
    """The settings that depend on the resource."""
    name, namespace = value.owner.name, value.owner.namespace
    bundle = {
        "name": BUNDLE,
        "classpath": _BUNDLE_CLASS,
        "kwargs": {"pointer": names.bundle_pointer(name), "refresh_interval": 1},
    }
    return {
        "core": {
            "execution_api_server_url": f"{names.airflow_url(namespace, name)}/execution/",
            "parallelism": str(value.max_active_runs),
            "max_active_runs_per_dag": str(value.max_active_runs),
            "max_active_tasks_per_dag": str(value.max_active_runs),
        },
        "dag_processor": {"dag_bundle_config_list": json.dumps([bundle])},
        "kubernetes_executor": {"namespace": namespace},
    }
