"""Every name, label, annotation and path that the operator gives to something, in one place.

Builders, the reconcilers and the tests take names from here; nothing else makes one up. The module is
pure: it knows strings, neither the API server nor Airflow.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Final

GROUP: Final = "mlpipelines.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

# The server-side-apply owners: one for what the operator applies, one for the status it computes.
FIELD_MANAGER: Final = "mlpipeline-operator"
FINALIZER: Final = f"{GROUP}/run"
AIRFLOW_FINALIZER: Final = f"{GROUP}/airflow"
# Who tells in an Event what happened.
EVENT_REPORTER: Final = f"{GROUP}/operator"

MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "mlpipeline-operator"
PIPELINE_LABEL: Final = f"{GROUP}/pipeline"
RUN_LABEL: Final = f"{GROUP}/run"
AIRFLOW_LABEL: Final = f"{GROUP}/airflow"
STEP_LABEL: Final = f"{GROUP}/step"
# What a labelled ConfigMap holds: "dag" (one version of one pipeline's files), "bundle-version" (path ->
# ConfigMap) or "bundle" (the pointer to the current version).
ROLE_LABEL: Final = f"{GROUP}/role"
# The same label on a worker's pod that only starts a step's pod and watches it; also its ServiceAccount's.
LAUNCHER_ROLE: Final = "launcher"

APPLIED_HASH_ANNOTATION: Final = f"{GROUP}/applied-hash"
RUN_HASH_ANNOTATION: Final = f"{GROUP}/run-hash"
# The pipeline's: another value than before asks for a run. The run's: the value that it was started for.
RUN_REQUEST_ANNOTATION: Final = f"{GROUP}/run-requested-at"
# The pipeline's, written when a run has ended: what need not be run again where the status was lost, as in a
# restored backup. The workload's is NAMESPACE/NAME/HASH: a copy under another name has not been run.
FINISHED_WORKLOAD_ANNOTATION: Final = f"{GROUP}/finished-workload"
FINISHED_REQUEST_ANNOTATION: Final = f"{GROUP}/finished-request"
# The run's id in Airflow, where Airflow had it first; and who started it.
DAG_RUN_ID_ANNOTATION: Final = f"{GROUP}/dag-run-id"
TRIGGER_ANNOTATION: Final = f"{GROUP}/trigger"
DAG_HASH_ANNOTATION: Final = f"{GROUP}/dag-hash"
# On Airflow's pods: a change of its settings rolls them, a change of a DAG does not.
CONFIG_HASH_ANNOTATION: Final = f"{GROUP}/config-hash"

# Tags that the rendered DAG carries in Airflow: what it is, and which text of it Airflow has parsed.
DAG_TAG: Final = GROUP
DAG_HASH_TAG_PREFIX: Final = f"{GROUP}/dag-hash="

DEFAULT_AIRFLOW: Final = "default"
AIRFLOW_PORT: Final = 8080
AIRFLOW_URL_TEMPLATE: Final = "http://{service}.{namespace}.svc:{port}"
POSTGRES_PORT: Final = 5432
COMPONENTS: Final = ("api-server", "scheduler", "dag-processor", "triggerer")

# Where the volume that an Airflow's pipelines share is mounted in step pods.
ARTIFACTS_MOUNT: Final = "/mlp/artifacts"


def short_hash(text: str, length: int = 10) -> str:
    """Return the first ``length`` hex digits of the SHA-256 of ``text``."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def pipeline_labels(pipeline: str) -> dict[str, str]:
    """Labels of everything that belongs to one pipeline."""
    return {MANAGED_BY_LABEL: MANAGED_BY, PIPELINE_LABEL: pipeline}


def airflow_labels(airflow: str, component: str | None = None) -> dict[str, str]:
    """Labels of everything that belongs to one Airflow; with ``component``, of one of its parts."""
    labels = {
        MANAGED_BY_LABEL: MANAGED_BY,
        "app.kubernetes.io/name": "airflow",
        "app.kubernetes.io/instance": airflow,
        AIRFLOW_LABEL: airflow,
    }
    if component is not None:
        labels["app.kubernetes.io/component"] = component
    return labels


def airflow_selector(airflow: str, component: str) -> dict[str, str]:
    """The immutable subset of ``airflow_labels`` that Services and workloads select pods by."""
    return {AIRFLOW_LABEL: airflow, "app.kubernetes.io/component": component}


def airflow_base(airflow: str) -> str:
    """Common prefix of an Airflow's children."""
    return f"airflow-{airflow}"


def airflow_component(airflow: str, component: str) -> str:
    """Name of a component's Deployment (and Service, where it has one)."""
    return f"{airflow_base(airflow)}-{component}"


def airflow_config(airflow: str) -> str:
    """ConfigMap with Airflow's settings as environment variables."""
    return f"{airflow_base(airflow)}-config"


def airflow_files(airflow: str) -> str:
    """ConfigMap with what Airflow's pods mount: the worker's pod template and the start scripts."""
    return f"{airflow_base(airflow)}-files"


def airflow_secrets(airflow: str) -> str:
    """Secret with ``fernet-key``, ``api-secret-key`` and ``jwt-secret``; generated once."""
    return f"{airflow_base(airflow)}-secrets"


def airflow_admin_secret(airflow: str) -> str:
    """Secret with the ``username`` and ``password`` of Airflow's administrator; generated once."""
    return f"{airflow_base(airflow)}-admin"


def airflow_database_secret(airflow: str) -> str:
    """Secret with the embedded database's ``password`` and SQLAlchemy ``connection``; generated once."""
    return f"{airflow_base(airflow)}-database"


def airflow_postgres(airflow: str) -> str:
    """StatefulSet and Service of the embedded PostgreSQL."""
    return f"{airflow_base(airflow)}-postgresql"


def airflow_artifacts_claim(airflow: str) -> str:
    """PersistentVolumeClaim that the Airflow's pipelines share for checkpoints and models."""
    return f"{airflow_base(airflow)}-artifacts"


def airflow_service_account(airflow: str, role: str) -> str:
    """ServiceAccount (and Role, RoleBinding) of ``role``: a component's name or ``worker``."""
    return f"{airflow_base(airflow)}-{role}"


def airflow_url(namespace: str, airflow: str) -> str:
    """Address of a managed Airflow's API and UI inside the cluster."""
    service = airflow_component(airflow, "api-server")
    return AIRFLOW_URL_TEMPLATE.format(service=service, namespace=namespace, port=AIRFLOW_PORT)


def bundle_pointer(airflow: str) -> str:
    """ConfigMap whose ``data.version`` names the bundle's current version."""
    return f"{airflow_base(airflow)}-dags"


def bundle_version(airflow: str, files: Mapping[str, str]) -> str:
    """Name of the immutable ConfigMap that lists ``files`` (bundle path -> ConfigMap name)."""
    text = "\n".join(f"{path}={files[path]}" for path in sorted(files))
    return f"{airflow_base(airflow)}-dags-{short_hash(text)}"


def dag_config_map(pipeline: str, dag_hash: str) -> str:
    """Immutable ConfigMap that holds one version of a pipeline's DAG."""
    return f"{pipeline}-dag-{dag_hash}"


# Beside a user's own DAG files: their hash, which becomes a tag. "~" stands behind all letters, and the
# bundle brings files in this order: whoever sees a new hash sees the new files.
HASH_FILE: Final = "~hash"


def dag_folder(pipeline: str) -> str:
    """Folder of a pipeline's own DAG files inside the bundle: without dashes, for Python to import it."""
    return pipeline.replace("-", "_")


def file_key(path: str) -> str:
    """Key of a file in its ConfigMap, which may hold no slash; no path has two dots in a row."""
    return path.replace("/", "..").replace("~", "_.")


def dag_path(pipeline: str) -> str:
    """Path of a pipeline's rendered DAG inside the bundle."""
    return f"{pipeline}/dag.py"


def dag_id(namespace: str, pipeline: str) -> str:
    """Airflow's dag_id of a pipeline."""
    return f"{namespace}.{pipeline}"


def dag_hash_tag(dag_hash: str) -> str:
    """The tag by which a parsed DAG shows which text of it Airflow has."""
    return f"{DAG_HASH_TAG_PREFIX}{dag_hash}"


def finished_workload(namespace: str, pipeline: str, run_hash: str) -> str:
    """What a pipeline is annotated with when its workload was run."""
    return f"{namespace}/{pipeline}/{run_hash}"


def run_name(pipeline: str, number: int) -> str:
    """Name of the ``number``-th run (from 1) that the operator creates for a pipeline."""
    return f"{pipeline}-{number}"


def dag_run_id(run: str, uid: str) -> str:
    """Airflow's run_id of an MLPipelineRun: the UID makes a repeated trigger a conflict, not a second run."""
    return f"{run}.{uid}"


_OWN_RUN_ID = re.compile(r"(?P<run>.+)\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def run_in_id(dag_run_id: str) -> str | None:
    """Name of the MLPipelineRun that a run in Airflow was triggered for; ``None`` if somebody else did."""
    own = _OWN_RUN_ID.fullmatch(dag_run_id)
    return own["run"] if own else None


def foreign_run(pipeline: str, airflow_uid: str, dag_run_id: str) -> str:
    """Name of the MLPipelineRun that stands for a run that Airflow had first.

    Args:
        pipeline: The pipeline that the run's DAG is of.
        airflow_uid: UID of the ``Airflow``: another one may have a run of the same id.
        dag_run_id: The run's id in Airflow.
    """
    return f"{pipeline}-{short_hash(f'{airflow_uid}/{pipeline}/{dag_run_id}', 8)}"


def artifacts_path(namespace: str, pipeline: str, run: str) -> str:
    """Folder of a run's artifacts below the root of its storage."""
    return f"{namespace}/{pipeline}/{run}"


def artifacts_uri(claim: str, namespace: str, pipeline: str, run: str) -> str:
    """URI of a run's artifacts on the shared volume."""
    return f"pvc://{claim}/{artifacts_path(namespace, pipeline, run)}"


_NOT_ENV = re.compile(r"[^A-Z0-9_]")


def parameter_env(parameter: str) -> str:
    """Environment variable in which a parameter reaches the training."""
    return f"MLP_PARAM_{_NOT_ENV.sub('_', parameter.upper())}"
