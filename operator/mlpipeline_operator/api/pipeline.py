"""``MLPipeline``: what to run, and how good the last run was."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from mlpipeline_operator.api.base import (
    LIST_MAP_BY_NAME,
    Column,
    Definition,
    Resource,
    Scalar,
    Timestamp,
    Wire,
    name_rule,
    rule,
    rules,
)
from mlpipeline_operator.api.outcome import Conditions, Metric, Model
from mlpipeline_operator.api.policy import RunPolicy
from mlpipeline_operator.api.states import PipelineState, RunState
from mlpipeline_operator.api.steps import Steps
from mlpipeline_operator.api.training import Training
from mlpipeline_operator.api.user_dag import UserDag

LONGEST_PIPELINE_NAME = 50

# Words of digits, names, and what cron has of signs; validate reads it as Airflow would.
_SCHEDULE_PATTERN = (
    "^(@(hourly|daily|weekly|monthly|quarterly|yearly)|[0-9A-Za-z*/,#?-]+( +[0-9A-Za-z*/,#?-]+){4})$"
)
_SCHEDULE_MESSAGE = (
    "not a schedule; write five cron fields (0 2 * * *: every day at two) or one of"
    " @hourly, @daily, @weekly, @monthly, @quarterly, @yearly"
)

Parameters = Annotated[dict[str, Scalar], Field(max_length=256)]


class Objective(Wire):
    """The metric that tells how good a run is."""

    metric: Annotated[
        str,
        Field(
            min_length=1,
            max_length=128,
            json_schema_extra=rules(
                rule(
                    "self.matches('^[^ =,]+$')",
                    "a metric's name has no spaces, commas or '='; write it as the training reports it:"
                    " val_accuracy",
                )
            ),
        ),
    ]
    """Name of the metric as the training reports it, for example `val_accuracy`."""
    goal: Literal["Maximize", "Minimize"] | None = None
    """Which way is better. Default: Maximize.

    - Maximize: greater is better, as for an accuracy
    - Minimize: smaller is better, as for a loss"""


class AirflowReference(Wire):
    """The Airflow that runs a pipeline."""

    name: Annotated[str, Field(min_length=1, max_length=30)] | None = None
    """Name of an `Airflow` in the same namespace. Default: `default`, which the operator creates if it is
    missing."""


class MLPipelineSpec(Wire):
    """What to run, and what to make of it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.training) || has(self.steps) || has(self.dag)",
                "say what to run, for example `training: {dataset: mnist}`",
                field=".training",
                reason="FieldValueRequired",
            ),
            rule(
                "!has(self.timezone) || has(self.schedule)",
                "`timezone` is that of the `schedule`: add one, or leave it out",
                field=".timezone",
                reason="FieldValueForbidden",
            ),
            rule(
                "!(has(self.training) && has(self.steps))",
                "`training` and `steps` exclude each other: keep one of them (a training among steps is a"
                " step without `image`)",
                field=".steps",
                reason="FieldValueForbidden",
            ),
            rule(
                "!has(self.dag) || !(has(self.training) || has(self.steps))",
                "`dag` excludes `training` and `steps`: keep one of them",
                field=".dag",
                reason="FieldValueForbidden",
            ),
            rule(
                "!(has(self.dag) && has(self.schedule))",
                "with `dag`, the schedule belongs into its file",
                field=".schedule",
                reason="FieldValueForbidden",
            ),
        )
    )

    training: Training | None = None
    """The workload: a TensorFlow/Keras training. Exactly one of `training`, `steps` and `dag` is needed."""
    steps: Steps | None = None
    """The workload: containers that run one after the other or side by side, as `dependsOn` says."""
    dag: UserDag | None = None
    """The workload: Airflow files of your own."""
    parameters: Parameters | None = None
    """Parameters of the training or the steps, by name: strings, numbers or booleans. They get each as a
    string in `$MLP_PARAM_NAME`: true and false for booleans, numbers without needless digits (`1.0` and `1`
    are both `1`, quote it where the text matters). Names have letters, digits, `_`, `-` and `.`, and begin
    with a letter."""
    objective: Objective | None = None
    """The metric that `kubectl get` shows and that the best values are chosen by. Default: none is shown."""
    airflow: AirflowReference | None = None
    """The Airflow that runs this pipeline."""
    schedule: (
        Annotated[
            str,
            Field(
                max_length=256,
                json_schema_extra=rules(rule(f"self.matches(r'{_SCHEDULE_PATTERN}')", _SCHEDULE_MESSAGE)),
            ),
        ]
        | None
    ) = None
    """When runs start by themselves: a cron expression (minute, hour, day of month, month, day of week) or
    one of `@hourly`, `@daily`, `@weekly`, `@monthly`, `@quarterly`, `@yearly`. Airflow keeps the time, also
    while the operator is away. After a suspension the newest missed time is made up for, at once. Default:
    no schedule."""
    timezone: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """The time zone of `schedule`, such as `Europe/Berlin`. Default: UTC."""
    suspend: bool | None = None
    """While true no run starts, whoever asks for it: the schedule rests, and others wait. A run that is
    under way goes on. Default: false."""
    run_policy: RunPolicy | None = None
    """When runs start, how many at once, how long they may take, and how long they are kept."""


class LastRun(Wire):
    """The newest run, in short."""

    name: str
    """Name of the MLPipelineRun."""
    state: RunState | None = None
    """Its state, as in the run's own status."""
    started_at: Timestamp | None = None
    """When Airflow started it."""
    finished_at: Timestamp | None = None
    """When it ended."""
    metrics: Annotated[list[Metric], Field(json_schema_extra=LIST_MAP_BY_NAME)] | None = None
    """The metrics that it reported."""
    model: Model | None = None
    """The model that it saved."""


class MLPipelineStatus(Wire):
    """What the operator found; written by the operator only."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The `metadata.generation` that this status was computed for."""
    state: PipelineState | None = None
    """What happens now, in one word.

    - Pending: the operator has not got far with it yet; the message says what it tries again
    - WaitingForAirflow: its Airflow is not up yet
    - WaitingForDag: Airflow has not parsed this generation's DAG yet
    - Idle: in place; no run so far
    - Queued: the newest run waits for room: in Airflow, or for a node
    - PullingImage: a step's image is being pulled
    - Running: the newest run is under way
    - Succeeded: the newest run ended well
    - Failed: the newest run failed; the message says why
    - Cancelled: the newest run was cancelled
    - Suspended: the pipeline, or its newest run, is suspended
    - Superseded: the newest run was overtaken by a change before it began
    - Invalid: the spec cannot be run as it is written; the message says what to change"""
    message: str | None = None
    """What happens now, or what went wrong, in words."""
    progress: str | None = None
    """How far the newest run is, for example `100%`."""
    metric: str | None = None
    """The objective's metric in the newest run that reported it, for example `val_accuracy=0.981`."""
    objective_value: str | None = None
    """The same metric's value alone, a decimal number as a string, to sort by."""
    dag_id: str | None = None
    """The pipeline's `dag_id` in Airflow: NAMESPACE.NAME."""
    dag_hash: str | None = None
    """Hash of the DAG that belongs to this generation; Airflow shows it as a tag once it has parsed it."""
    run_hash: str | None = None
    """Hash of the workload for which the operator last started a run."""
    run_request: str | None = None
    """The newest value of the annotation mlpipelines.dev/run-requested-at for which a run was started."""
    mirrored_until: Timestamp | None = None
    """Runs that Airflow started by itself or for somebody up to here have an MLPipelineRun, or had one."""
    run_count: Annotated[int, Field(ge=0)] | None = None
    """Number of the newest run that the operator started; runs are called NAME-NUMBER."""
    last_run: LastRun | None = None
    """The newest run."""
    airflow: str | None = None
    """Name of the Airflow that runs this pipeline."""
    model: Model | None = None
    """The newest model."""
    conditions: Conditions | None = None
    """Ready (Airflow is up and has parsed this generation's DAG; how runs fare never moves it), Reconciling
    (on the way there), Stalled (only an edit helps; the message says which), LastRunSucceeded."""


class MLPipeline(Resource):
    """A machine-learning pipeline: what to run, when, and how good it must become.

    The operator brings up an Airflow for it, delivers its DAG, starts a run (an MLPipelineRun) and keeps the
    status up to date with what came out.
    """

    model_config = ConfigDict(json_schema_extra=rules(name_rule("an MLPipeline", LONGEST_PIPELINE_NAME)))

    spec: MLPipelineSpec
    """What to run, and what to make of it."""
    status: MLPipelineStatus | None = None
    """What the operator found; written by the operator only."""


DEFINITION = Definition(
    model=MLPipeline,
    kind="MLPipeline",
    plural="mlpipelines",
    short="mlp",
    columns=(
        Column(
            "Ready",
            '.status.conditions[?(@.type=="Ready")].status',
            "Whether Airflow is up and has parsed this generation's DAG.",
        ),
        Column("Status", ".status.state", "What happens now, in one word."),
        Column("Progress", ".status.progress", "How far the newest run is."),
        Column("Metric", ".status.metric", "The objective's metric in the newest run that reported it."),
        Column("Last Run", ".status.lastRun.startedAt", "How long ago the newest run started.", type="date"),
        Column("Schedule", ".spec.schedule", "When runs start by themselves."),
        Column("Age", ".metadata.creationTimestamp", "How long ago the pipeline was created.", type="date"),
        Column("Model", ".status.model.uri", "Where the newest model lies.", wide=True),
        Column("Airflow", ".status.airflow", "The Airflow that runs it.", wide=True),
        Column("Message", ".status.message", "What happens now, in words.", wide=True),
    ),
)
