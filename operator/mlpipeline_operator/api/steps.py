"""``MLPipeline.spec.steps``: named containers that run one after the other or side by side."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from mlpipeline_operator.api.base import LIST_MAP_BY_NAME, LIST_SET, Wire, rule, rules
from mlpipeline_operator.api.containers import Image, Resources, WorkloadEnvVar

LONGEST_STEP_NAME = 40
MOST_STEPS = 64

StepName = Annotated[str, Field(min_length=1, max_length=LONGEST_STEP_NAME)]
_Words = Annotated[list[Annotated[str, Field(max_length=32768)]], Field(max_length=256)]
_NAME_MESSAGE = (
    f"use at most {LONGEST_STEP_NAME} characters of a-z, 0-9 and '-' for the name of a step, beginning and"
    " ending with a letter or digit"
)


class PipelineStep(Wire):
    """One step of a pipeline: a container that runs to its end.

    Texts in `command`, `args` and `env` may refer to `$(params.NAME)`, a parameter, and to
    `$(steps.NAME.outputs.KEY)`, what an earlier step has left for others.
    """

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!format.dns1123Label().validate(self.name).hasValue()",
                _NAME_MESSAGE,
                field=".name",
            ),
            rule(
                "has(self.image) || (has(self.command) && size(self.command) > 0)",
                "without `image` the step runs in the operator's trainer image: say what in `command`",
                field=".command",
                reason="FieldValueRequired",
            ),
            rule(
                "!has(self.dependsOn) || !(self.name in self.dependsOn)",
                "a step cannot depend on itself",
                says="'step ' + self.name + ' cannot depend on itself'",
                field=".dependsOn",
            ),
        )
    )

    name: StepName
    """Name of the step, which is also its task's in Airflow."""
    image: Image | None = None
    """The container image; any will do that need not run as root. It runs in a pod of its own, which one more
    pod, Airflow's, starts and watches. Default: the trainer image of this operator's release, where the step
    is one pod and starts sooner."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """When the image is pulled. Default: Always if the image's tag is `latest` or missing, else IfNotPresent.

    - Always: at every start of a pod
    - IfNotPresent: only where the node does not have it yet
    - Never: the node must have it already"""
    command: _Words | None = None
    """What to run, in place of the image's own entry point; no shell interprets it."""
    args: _Words | None = None
    """Arguments of the command."""
    env: Annotated[list[WorkloadEnvVar], Field(max_length=32, json_schema_extra=LIST_MAP_BY_NAME)] | None = (
        None
    )
    """Environment variables of the step."""
    resources: Resources | None = None
    """Compute resources of the step's container. A change does not start a new run."""
    depends_on: (
        Annotated[list[StepName], Field(max_length=MOST_STEPS - 1, json_schema_extra=LIST_SET)] | None
    ) = None
    """Names of the steps that must have ended well before this one begins. Default: none, so it begins with
    the run."""
    retries: Annotated[int, Field(ge=0, le=100)] | None = None
    """How often the step is tried again when it fails. Default: that of the run policy."""


# What steps say of each other is checked by the operator: CEL's budget is too small for 64 times 64 names.
Steps = Annotated[
    list[PipelineStep], Field(min_length=1, max_length=MOST_STEPS, json_schema_extra=LIST_MAP_BY_NAME)
]
