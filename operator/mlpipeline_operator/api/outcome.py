"""What status holds in more than one kind: conditions, metrics, models."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mlpipeline_operator.api.base import LIST_MAP_BY_TYPE, Timestamp, Wire


class Condition(Wire):
    """One aspect of a resource's state, as in `metav1.Condition`."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    """What the condition is about, in CamelCase."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds: True, False, or Unknown."""
    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The `metadata.generation` that the condition was computed for."""
    last_transition_time: Timestamp
    """When the status last changed."""
    reason: Annotated[
        str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")
    ]
    """Why, as one CamelCase word."""
    message: Annotated[str, Field(max_length=32768)]
    """Why, for a human; may be empty."""


Conditions = Annotated[list[Condition], Field(json_schema_extra=LIST_MAP_BY_TYPE)]


class Model(Wire):
    """A saved model."""

    uri: str | None = None
    """Where the model lies, for example `pvc://CLAIM/NAMESPACE/PIPELINE/RUN/model`."""
    digest: str | None = None
    """SHA-256 of the model's files, `sha256:...`: two models with the same digest are the same."""


class Metric(Wire):
    """A metric that a training reported."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name as the training reported it, for example `val_accuracy`."""
    value: str
    """The latest value, a decimal number as a string."""
    best: str | None = None
    """The best value of the run so far (by the objective's goal for the objective's metric)."""
