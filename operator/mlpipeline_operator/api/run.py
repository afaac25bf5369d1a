"""``MLPipelineRun``: one run of a pipeline, its progress, metrics, model, and cause of failure."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from mlpipeline_operator.api.base import (
    LIST_MAP_BY_NAME,
    Column,
    Definition,
    Resource,
    Timestamp,
    Wire,
    name_rule,
    rule,
    rules,
)
from mlpipeline_operator.api.outcome import Conditions, Metric, Model
from mlpipeline_operator.api.pipeline import LONGEST_PIPELINE_NAME, Parameters
from mlpipeline_operator.api.states import RunState, StepState, Trigger

LONGEST_RUN_NAME = 63


class PipelineReference(Wire):
    """The pipeline that a run belongs to."""

    name: Annotated[str, Field(min_length=1, max_length=LONGEST_PIPELINE_NAME)]
    """Name of an `MLPipeline` in the same namespace."""


def _changed(flag: str) -> str:
    """CEL for whether a flag is another one than before; a missing one is false."""
    now, before = (f"(has({each}.{flag}) && {each}.{flag})" for each in ("self", "oldSelf"))
    return f"{now} != {before}"


class MLPipelineRunSpec(Wire):
    """Which pipeline to run, and with which parameters; fixed at creation but for `cancel` and `suspend`."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            # CEL cannot see parameters, whose values have no type; but it can tell that all is as it was.
            rule(
                "self.pipelineRef == oldSelf.pipelineRef"
                f" && (self == oldSelf || {_changed('cancel')} || {_changed('suspend')})",
                "the pipeline and parameters of a run cannot be changed: create another MLPipelineRun",
                reason="FieldValueForbidden",
            ),
            rule(
                "!(has(oldSelf.cancel) && oldSelf.cancel) || (has(self.cancel) && self.cancel)",
                "a cancelled run stays cancelled: create another MLPipelineRun",
                field=".cancel",
                reason="FieldValueForbidden",
            ),
        )
    )

    pipeline_ref: PipelineReference
    """The pipeline to run."""
    parameters: Parameters | None = None
    """Parameters that differ from the pipeline's own in this run, by name: strings, numbers or booleans."""
    cancel: bool | None = None
    """Set it to true to stop the run for good. Default: false."""
    suspend: bool | None = None
    """While true the run is stopped; set back to false it goes on from its last checkpoint, in another
    attempt. Default: false."""


class RunInputs(Wire):
    """What a run was given, every default filled in."""

    parameters: dict[str, str] | None = None
    """The parameters, as the training got them."""
    source_hash: str | None = None
    """Hash of the workload: code, image, entrypoint, data, parameters, environment."""
    image: str | None = None
    """The image that the training ran in."""
    commit: str | None = None
    """The commit of the code, where it came from Git."""
    data: str | None = None
    """The data set or the address of the data."""


class Progress(Wire):
    """How far a run is."""

    percent: Annotated[int, Field(ge=0, le=100)] | None = None
    """How much is done, in percent."""
    summary: str | None = None
    """The same in words, as kubectl get shows it, such as 100%."""
    updated_at: Timestamp | None = None
    """When the progress last changed."""


class Step(Wire):
    """One step of a run, its latest attempt."""

    name: Annotated[str, Field(min_length=1, max_length=250)]
    """Name of the step; it is also the task's in Airflow."""
    state: StepState | None = None
    """What happens to it now.

    - Pending: not due yet
    - Queued: due, but waiting for room: in Airflow, or for a node
    - PullingImage: its image is being pulled
    - Running: its container runs
    - Retrying: it failed and will be tried again
    - Succeeded: it ended well
    - Failed: it failed, and will not be tried again
    - Skipped: it will not run, since something before it failed"""
    attempt: Annotated[int, Field(ge=1)] | None = None
    """The number of its latest attempt, from 1; more than 1 after a retry."""
    pod: str | None = None
    """Name of its pod, for `kubectl logs`. The pod stays until the run is deleted."""
    started_at: Timestamp | None = None
    """When its container started."""
    finished_at: Timestamp | None = None
    """When it ended."""
    exit_code: int | None = None
    """Exit code of the training, or of its container: 0 well, 1 the user's code, 2 a parameter, 3 the data,
    4 saving the model, 5 a metric that is not a number, 6 no GPU, 7 out of memory, 8 fetching the
    code, 9 its requirements, 137 killed, 143 ended from
    outside."""
    message: str | None = None
    """What it waits for or what went wrong, in the words of the scheduler, the kubelet or the training."""


class Failure(Wire):
    """Why a run failed."""

    step: str | None = None
    """The step that failed."""
    reason: str
    """The cause as one word: an exception's class, or OOMKilled, ImagePullBackOff, ..."""
    message: str | None = None
    """The cause in words, where known with file and line."""
    logs: str | None = None
    """The command that shows the log."""


class Stopping(Wire):
    """Why the operator stops a run in Airflow, kept until Airflow has it stopped."""

    state: Literal["Cancelled", "Failed", "Suspended"]
    """The state that the run is to have then.

    - Cancelled: it ends for good
    - Failed: it has taken too long
    - Suspended: it rests until it is resumed"""
    reason: str
    """Why, as one word."""
    message: str
    """Why, in words."""
    step: str | None = None
    """The step that has taken too long."""


class MLPipelineRunStatus(Wire):
    """What the operator found; written by the operator only."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The `metadata.generation` that this status was computed for."""
    trigger: Trigger | None = None
    """Who started it.

    - Change: the operator, since the pipeline's workload was new
    - Request: the annotation mlpipelines.dev/run-requested-at on the pipeline
    - User: somebody who created this resource
    - Schedule: Airflow, by the pipeline's schedule
    - Airflow: somebody in Airflow, by its UI, API or command line"""
    dag_run_id: str | None = None
    """The run's `dag_run_id` in Airflow, once it has been started there."""
    dag_id: str | None = None
    """The DAG that it is a run of."""
    airflow: str | None = None
    """The Airflow that it was started in."""
    state: RunState | None = None
    """What happens now, in one word.

    - WaitingForAirflow: the pipeline's Airflow is not up yet
    - WaitingForDag: Airflow has not parsed the pipeline's DAG yet
    - Queued: it waits for room: in Airflow, or for a node
    - PullingImage: a step's image is being pulled
    - Running: at least one step has started
    - Succeeded: all steps ended well
    - Failed: see `failure`
    - Superseded: the pipeline changed before the run began, so another one took its place
    - Cancelled: it was stopped, by `spec.cancel` or since a newer run replaced it
    - Suspended: it is stopped, or not started, until `suspend` is set back; see the message"""
    message: str | None = None
    """What happens now, or what went wrong, in words."""
    started_at: Timestamp | None = None
    """When Airflow started it."""
    finished_at: Timestamp | None = None
    """When it ended."""
    attempt: Annotated[int, Field(ge=1)] | None = None
    """The number of the latest attempt, from 1; more than 1 after a retry."""
    inputs: RunInputs | None = None
    """What the run was given."""
    progress: Progress | None = None
    """How far it is."""
    metric: str | None = None
    """The objective's metric, for example `val_accuracy=0.981`."""
    objective_value: str | None = None
    """The same metric's value alone, a decimal number as a string:
    `kubectl get mlpr --sort-by=.status.objectiveValue`."""
    metrics: Annotated[list[Metric], Field(json_schema_extra=LIST_MAP_BY_NAME)] | None = None
    """The metrics that the training reported."""
    steps: Annotated[list[Step], Field(json_schema_extra=LIST_MAP_BY_NAME)] | None = None
    """The steps, in the order in which they run."""
    model: Model | None = None
    """The model that it saved."""
    resource_usage: dict[str, str] | None = None
    """What the training used: `wallSeconds`, `cpuSeconds`, `maxRssBytes` (the most memory it held)."""
    failure: Failure | None = None
    """Why it failed, if it did."""
    resumed_from: Annotated[int, Field(ge=1)] | None = None
    """The number of the attempt that was suspended and from whose last checkpoint the next one went on."""
    resumed_from_epoch: Annotated[int, Field(ge=1)] | None = None
    """How many epochs the latest attempt took over from the ones before, by their checkpoint."""
    stopping: Stopping | None = None
    """Why the operator stops it, or has suspended it."""
    conditions: Conditions | None = None
    """Succeeded (True once it ended well, False once it cannot), Failed (True once it failed), Reconciling
    (under way), Stalled (failed)."""


class MLPipelineRun(Resource):
    """One run of an MLPipeline: its progress, metrics, model, and cause of failure.

    The operator creates one for every run that it starts; create one yourself to start a run.
    """

    model_config = ConfigDict(json_schema_extra=rules(name_rule("an MLPipelineRun", LONGEST_RUN_NAME)))

    spec: MLPipelineRunSpec
    """Which pipeline to run, and with which parameters; fixed at creation but for `cancel` and `suspend`."""
    status: MLPipelineRunStatus | None = None
    """What the operator found; written by the operator only."""


DEFINITION = Definition(
    model=MLPipelineRun,
    kind="MLPipelineRun",
    plural="mlpipelineruns",
    short="mlpr",
    columns=(
        Column("Pipeline", ".spec.pipelineRef.name", "The pipeline that it is a run of."),
        Column("Status", ".status.state", "What happens now, in one word."),
        Column("Progress", ".status.progress.summary", "How far the run is."),
        Column("Metric", ".status.metric", "The objective's metric."),
        Column("Started", ".status.startedAt", "How long ago it started.", type="date"),
        Column("Finished", ".status.finishedAt", "How long ago it ended.", type="date"),
        Column("Age", ".metadata.creationTimestamp", "How long ago it was created.", type="date"),
        Column("Trigger", ".status.trigger", "Who started it.", wide=True),
        Column("Attempt", ".status.attempt", "The number of its latest attempt.", type="integer", wide=True),
        Column("Model", ".status.model.uri", "Where its model lies.", wide=True),
        Column("Message", ".status.message", "What happens now, in words.", wide=True),
    ),
)
