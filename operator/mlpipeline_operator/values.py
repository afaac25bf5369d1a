"""Validated, fully named values: all that builders and status see of a resource.

``validate`` makes them from wire objects; nothing here reads or writes anything. A value holds what the user
asked for with every default filled in, so that a builder never touches a raw resource or a setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Goal = Literal["Maximize", "Minimize"]
Concurrency = Literal["Allow", "Forbid", "Replace"]


@dataclass(frozen=True, slots=True)
class Owner:
    """The resource that children belong to: what an ownerReference needs."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Images:
    """References of the images that the operator was released with."""

    airflow: str
    trainer: str
    postgres: str


@dataclass(frozen=True, slots=True)
class ComponentSettings:
    """Replicas and container resources (a ResourceRequirements object) of one Airflow component."""

    replicas: int = 1
    resources: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EmbeddedDatabase:
    """A PostgreSQL that the operator runs beside Airflow, on a claim of ``size`` (a quantity)."""

    image: str
    size: str
    storage_class: str | None
    resources: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExternalDatabase:
    """A database of the user's: ``key`` of Secret ``secret`` holds its SQLAlchemy URL."""

    secret: str
    key: str


@dataclass(frozen=True, slots=True)
class ArtifactsVolume:
    """The claim that an Airflow's pipelines share for checkpoints and models."""

    size: str
    storage_class: str | None
    access_modes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AirflowValue:
    """A managed Airflow, as the builders see it.

    ``config`` is Airflow's own (section -> option -> value) and wins over the operator's defaults, ``env`` is
    a list of Kubernetes EnvVar objects for every Airflow container. ``components`` has a key per name in
    ``names.COMPONENTS``.
    """

    owner: Owner
    version: str
    image: str
    env: tuple[Mapping[str, Any], ...]
    config: Mapping[str, Mapping[str, str]]
    service_type: str
    database: EmbeddedDatabase | ExternalDatabase
    artifacts: ArtifactsVolume
    components: Mapping[str, ComponentSettings]
    max_active_runs: int
    retain: bool


@dataclass(frozen=True, slots=True)
class ExternalAirflowValue:
    """An Airflow that somebody else runs, at ``url``.

    ``secret`` holds the credentials; ``ca`` is a Secret and its key with the certificates to trust.
    """

    owner: Owner
    url: str
    secret: str
    ca: tuple[str, str] | None
    verify_tls: bool


@dataclass(frozen=True, slots=True)
class Objective:
    """The metric that tells how good a run is, and which way is better."""

    metric: str
    goal: Goal


@dataclass(frozen=True, slots=True)
class GitCode:
    """A repository: branch, tag or commit, a folder within, and the Secret with its credentials."""

    url: str
    ref: str | None
    path: str | None
    secret: str | None


@dataclass(frozen=True, slots=True)
class Code:
    """The user's own code: files by name, or a repository."""

    files: Mapping[str, str] = field(default_factory=dict)
    git: GitCode | None = None


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """The TensorFlow preset: one step that runs the trainer inside the worker pod.

    ``entrypoint`` is ``module:function`` or a path in ``image``; without it the preset for ``dataset`` runs.
    ``code``, if there is any, is where ``entrypoint`` lies instead; ``requirements`` are pip's.
    ``resources`` is a ResourceRequirements object. ``python`` is the interpreter that has TensorFlow.
    """

    name: str
    image: str
    image_pull_policy: str
    python: str
    dataset: str | None
    data_uri: str | None
    entrypoint: str | None
    env: tuple[Mapping[str, Any], ...]
    resources: Mapping[str, Any]
    gpu: bool
    code: Code | None = None
    requirements: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunPolicy:
    """When runs start and how they are treated; all times in seconds, ``None`` for no limit."""

    on_change: bool
    concurrency: Concurrency = "Allow"
    retries: int = 0
    retry_delay: int = 10
    max_retry_delay: int = 3600
    deadline: int | None = None
    pending_deadline: int = 24 * 3600
    ttl_after_finished: int | None = None
    keep_successful: int = 20
    keep_failed: int = 20


@dataclass(frozen=True, slots=True)
class ContainerStep:
    """One of ``spec.steps``: a container of its own, or a command in the trainer image.

    Attributes:
        own_pod: Whether the image is the user's, which need not know Airflow: it gets a pod of its own. Else
            the step runs in the worker's pod.
        command: What to run, its arguments included where it runs in the worker's pod.
        depends_on: Names of the steps before it, which stand before it in ``PipelineValue.steps``.
        reads: Names of those steps whose outputs its texts refer to.
    """

    name: str
    image: str
    image_pull_policy: str
    own_pod: bool
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: tuple[Mapping[str, Any], ...]
    resources: Mapping[str, Any]
    depends_on: tuple[str, ...]
    reads: tuple[str, ...]
    retries: int | None


Step = TrainingStep | ContainerStep


@dataclass(frozen=True, slots=True)
class UserDag:
    """Airflow files of the user's own; what is in them are the pipeline's steps.

    Attributes:
        files: Path -> text.
        dag_ids: Every DAG that they hold, as far as that can be read, with the one that runs are started of.
        path: The file that the latter is most likely in.
    """

    files: Mapping[str, str]
    dag_ids: tuple[str, ...]
    path: str


@dataclass(frozen=True, slots=True)
class PipelineValue:
    """A pipeline, as the builders see it.

    ``schedule`` is a cron expression or preset, as Airflow reads it, in ``timezone``; ``None`` for none.
    ``parameters`` are canonical strings. ``run_hash`` covers the user's workload only (never the operator's
    own images or settings): when it changes, a new run is due. ``artifacts_claim`` is the shared volume's
    claim. ``steps`` stand in an order in which they may run.
    """

    owner: Owner
    airflow: str
    dag_id: str
    steps: tuple[Step, ...]
    parameters: Mapping[str, str]
    objective: Objective | None
    schedule: str | None
    timezone: str
    suspend: bool
    policy: RunPolicy
    service_account: str
    artifacts_claim: str
    run_hash: str
    user_dag: UserDag | None = None


@dataclass(frozen=True, slots=True)
class RunValue:
    """One run of a pipeline.

    ``parameters`` are the overrides, canonical strings. ``is_mirrored`` says that Airflow has the run
    already: nothing is to be triggered.
    """

    owner: Owner
    pipeline: str
    dag_run_id: str
    is_mirrored: bool
    parameters: Mapping[str, str]
    cancel: bool
    suspend: bool
