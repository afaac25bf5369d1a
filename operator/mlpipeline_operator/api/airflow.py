"""``Airflow``: an Airflow that the pipelines of a namespace share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from mlpipeline_operator.api.airflow_rules import (
    DEFAULT_AIRFLOW_VERSION,
    EXTERNAL_ALONE,
    EXTERNAL_URL,
    FIXED,
    LONGEST_AIRFLOW_NAME,
    AirflowEnvVar,
)
from mlpipeline_operator.api.base import (
    LIST_MAP_BY_NAME,
    LIST_SET,
    Column,
    Definition,
    Name,
    Resource,
    Scalar,
    Wire,
    name_rule,
    rule,
    rules,
)
from mlpipeline_operator.api.containers import EnvList, Image, Resources, VolumeSize
from mlpipeline_operator.api.outcome import Conditions
from mlpipeline_operator.api.states import AirflowState


class Service(Wire):
    """How Airflow's API and UI are reached."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] | None = None
    """Kind of the Service in front of the API server. Default: ClusterIP.

    - ClusterIP: inside the cluster, and by `kubectl port-forward` (see `status.access`)
    - NodePort: on a port of every node
    - LoadBalancer: by a load balancer of the cloud's"""


class Storage(Wire):
    """The volume of the embedded database."""

    size: VolumeSize | None = None
    """Size of the volume. Default: 5Gi."""
    storage_class_name: Name | None = None
    """StorageClass of the volume. Default: the cluster's default."""


class EmbeddedDatabase(Wire):
    """A PostgreSQL that the operator runs beside Airflow."""

    storage: Storage | None = None
    """Its volume; decided at creation."""
    resources: Resources | None = None
    """Compute resources of its pod."""


class DatabaseSecret(Wire):
    """The Secret that holds the address of a database of one's own."""

    name: Name
    """Name of a Secret in the same namespace."""
    key: Name | None = None
    """Key whose value is the SQLAlchemy URL, `postgresql+psycopg2://USER:PASSWORD@HOST:PORT/NAME`. Default:
    `connection`."""


class Database(Wire):
    """Airflow's metadata database."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!(has(self.embedded) && has(self.secretRef))",
                "`embedded` and `secretRef` exclude each other: keep one of them",
            )
        )
    )

    embedded: EmbeddedDatabase | None = None
    """A PostgreSQL that the operator runs beside Airflow: enough for development and small teams. This is the
    default."""
    secret_ref: DatabaseSecret | None = None
    """A PostgreSQL of one's own."""


class Artifacts(Wire):
    """The volume that the pipelines share for checkpoints and models."""

    size: VolumeSize | None = None
    """Size of the volume. Default: 10Gi."""
    storage_class_name: Name | None = None
    """StorageClass of the volume. Default: the cluster's default."""
    access_modes: (
        Annotated[
            list[Literal["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"]],
            Field(min_length=1, max_length=3, json_schema_extra=LIST_SET),
        ]
        | None
    ) = None
    """How the volume may be mounted. Default: ReadWriteOnce.

    - ReadWriteOnce: by pods of one node at a time
    - ReadWriteMany: by pods of all nodes; the StorageClass must offer it. Needed where steps run on several
      nodes
    - ReadWriteOncePod: by one pod at a time"""


class Component(Wire):
    """One of Airflow's processes."""

    replicas: Annotated[int, Field(ge=1, le=16)] | None = None
    """How many pods run it. Default: 1."""
    resources: Resources | None = None
    """Compute resources of its pods."""


class SecretName(Wire):
    """A Secret in the same namespace."""

    name: Name
    """Name of the Secret."""


class CaSecret(Wire):
    """The Secret that holds the certificates to trust."""

    name: Name
    """Name of a Secret in the same namespace."""
    key: Name | None = None
    """Key whose value is the certificates, in PEM. Default: `ca.crt`."""


class ExternalAirflow(Wire):
    """An Airflow that somebody else runs."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!(has(self.caSecretRef) && has(self.insecureSkipTLSVerify) && self.insecureSkipTLSVerify)",
                "`caSecretRef` is of no use where `insecureSkipTLSVerify` is true: keep one of them",
            )
        )
    )

    url: Annotated[str, Field(max_length=2048, json_schema_extra=rules(*EXTERNAL_URL))]
    """Address of its API and UI as the operator reaches it, without `/api`, for example
    https://airflow.example.com."""
    credentials_secret_ref: SecretName
    """The Secret to log in with: its keys are `username` and `password`, or `token` for a bearer token that
    is ready for use. The user must be allowed to read and trigger the pipelines' DAGs."""
    ca_secret_ref: CaSecret | None = None
    """Certificates to trust, for an Airflow whose own certificate no public authority signed."""
    insecure_skip_tls_verify: Annotated[bool | None, Field(alias="insecureSkipTLSVerify")] = None
    """Whether to take any certificate. Default: false. Whoever is on the way can then read the password."""


class AirflowSpec(Wire):
    """What the Airflow is like; everything has a default, so `{}` will do."""

    model_config = ConfigDict(json_schema_extra=rules(EXTERNAL_ALONE))

    external: ExternalAirflow | None = None
    """An Airflow that somebody else runs, instead of one that the operator makes: no other field may be set
    then. The operator changes nothing in it but the runs of its pipelines, and leaves it as it is when this
    resource is deleted."""
    version: (
        Annotated[
            str,
            Field(
                max_length=32,
                json_schema_extra=rules(
                    rule(
                        r"self.matches('^3[.][0-9]+[.][0-9]+$')",
                        f"write a full version of Airflow 3, for example {DEFAULT_AIRFLOW_VERSION}",
                    )
                ),
            ),
        ]
        | None
    ) = None
    """The version of Airflow, for example 3.3.2. Default: the one that the operator's release holds, 3.3.2,
    when this Airflow is created; it then stays until this field changes. Another version needs an `image` of
    it."""
    image: Image | None = None
    """The image of Airflow's components, built from this project's Dockerfile (target `airflow`): it holds
    the DAG bundle. Default: the one of this operator's release."""
    executor: Literal["KubernetesExecutor"] | None = None
    """How tasks run. Default: KubernetesExecutor.

    - KubernetesExecutor: each in a pod of its own"""
    env: EnvList[AirflowEnvVar] | None = None
    """Environment variables of Airflow's components, besides those that the operator sets. Secrets for
    connections, for example `AIRFLOW_CONN_...`, belong here, by `valueFrom`."""
    config: (
        Annotated[dict[str, Annotated[dict[str, Scalar], Field(max_length=128)]], Field(max_length=64)] | None
    ) = None
    """Airflow's own settings, by section and option as in airflow.cfg: `{core: {parallelism: 64}}`. They win
    over the operator's, except for those that it cannot do without."""
    service: Service | None = None
    """How Airflow's API and UI are reached."""
    database: Database | None = None
    """Airflow's metadata database. Embedded or not is decided at creation: a change would lose the
    history."""
    artifacts: Artifacts | None = None
    """The volume that the pipelines share for checkpoints and models."""
    api_server: Component | None = None
    """The process that serves the API and the UI."""
    scheduler: Component | None = None
    """The process that starts tasks."""
    dag_processor: Component | None = None
    """The process that reads the DAGs."""
    triggerer: Component | None = None
    """The process that waits for deferred tasks."""
    max_active_runs: Annotated[int, Field(ge=1, le=1000)] | None = None
    """How many runs may be under way at once, of one pipeline and of all together; more wait in Airflow's
    queue. Default: 16."""
    deletion_policy: Literal["Retain", "Delete"] | None = None
    """What happens to the database's volume, the artifacts' volume and the generated Secrets when this
    Airflow is deleted. Default: Retain.

    - Retain: they stay, and an Airflow of the same name takes them up again
    - Delete: they go too"""


class AirflowComponentStatus(Wire):
    """Readiness of one part."""

    name: Annotated[str, Field(min_length=1, max_length=63)]
    """Name of the part: api-server, scheduler, dag-processor, triggerer, postgresql; of an external Airflow
    metadatabase, too."""
    ready: str | None = None
    """Ready pods of those wanted, for example `1/1`; of an external Airflow its own word, for example
    `healthy`."""


class Access(Wire):
    """How a person gets in."""

    command: str | None = None
    """The command that brings the UI to localhost."""
    username: str | None = None
    """Name of the administrator."""
    password_secret: str | None = None
    """Name of the Secret whose key `password` holds the administrator's password."""


class AirflowStatus(Wire):
    """What the operator found; written by the operator only."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The `metadata.generation` that this status was computed for."""
    state: AirflowState | None = None
    """What happens now, in one word.

    - Pending: not all parts are up, or the external Airflow cannot be reached; the message says why
    - Running: all parts are up
    - Invalid: the spec cannot be followed as it is written, or the external Airflow does not let the operator
      in; the message says what to change"""
    message: str | None = None
    """What happens now, or what went wrong, in words."""
    version: str | None = None
    """The version of Airflow that runs. It stays when the operator is upgraded."""
    image: str | None = None
    """The image that it runs from."""
    url: str | None = None
    """Address of the API and the UI inside the cluster, or of the external Airflow."""
    components: Annotated[list[AirflowComponentStatus], Field(json_schema_extra=LIST_MAP_BY_NAME)] | None = (
        None
    )
    """Readiness by part."""
    access: Access | None = None
    """How a person gets in."""
    conditions: Conditions | None = None
    """Ready (all parts are up), Reconciling (on the way there), Stalled (only an edit helps; the message says
    which)."""


class Airflow(Resource):
    """An Airflow that the pipelines of a namespace share.

    The operator creates the one called `default` when a pipeline needs it; create one yourself to choose its
    settings. Whoever may edit pipelines in the namespace is in effect an administrator of its Airflow.
    """

    model_config = ConfigDict(json_schema_extra=rules(name_rule("an Airflow", LONGEST_AIRFLOW_NAME), *FIXED))

    spec: AirflowSpec | None = None
    """What the Airflow is like; everything has a default."""
    status: AirflowStatus | None = None
    """What the operator found; written by the operator only."""


DEFINITION = Definition(
    model=Airflow,
    kind="Airflow",
    plural="airflows",
    short="af",
    columns=(
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status', "Whether all parts are up."),
        Column("Status", ".status.state", "What happens now, in one word."),
        Column("Version", ".status.version", "The version of Airflow that runs."),
        Column("URL", ".status.url", "Address of the API and the UI inside the cluster."),
        Column("Age", ".metadata.creationTimestamp", "How long ago it was created.", type="date"),
        Column("Message", ".status.message", "What happens now, in words.", wide=True),
    ),
)
