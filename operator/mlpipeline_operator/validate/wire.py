"""From a wire object to its model; what the model refuses becomes a ``SpecError``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from mlpipeline_operator import names
from mlpipeline_operator.api.base import Wire
from mlpipeline_operator.api.containers import EnvVar
from mlpipeline_operator.errors import SpecError
from mlpipeline_operator.values import Owner

__all__ = ["env_vars", "owner", "parse_spec"]

Model = TypeVar("Model", bound=Wire)

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_MOST_ERRORS = 5


def parse_spec(model: type[Model], body: Mapping[str, Any]) -> Model:
    """Return the ``spec`` of a wire object; a missing one is an empty one.

    Raises:
        SpecError: The spec is not what the schema says; the message names the fields.
    """
    try:
        return model.model_validate(body.get("spec") or {})
    except ValidationError as error:
        found = [_sentence(detail["loc"], detail["msg"]) for detail in error.errors(include_url=False)]
        rest = len(found) - _MOST_ERRORS
        more = [f"and {rest} more"] if rest > 0 else []
        raise SpecError("; ".join(found[:_MOST_ERRORS] + more)) from None


def owner(body: Mapping[str, Any], kind: str, longest: int) -> Owner:
    """Return what an ownerReference to a wire object needs.

    Raises:
        SpecError: Its name cannot be the beginning of other objects' names.
    """
    metadata = body["metadata"]
    name = metadata["name"]
    if len(name) > longest or not _LABEL.fullmatch(name):
        raise SpecError(
            f'metadata.name: "{name}" must be at most {longest} characters of a-z, 0-9 and "-", beginning and'
            " ending with a letter or digit"
        )
    return Owner(names.API_VERSION, kind, metadata["namespace"], name, metadata["uid"])


def env_vars(env: Sequence[EnvVar] | None) -> tuple[dict[str, Any], ...]:
    """Return environment variables as Kubernetes EnvVar objects."""
    return tuple(each.model_dump(by_alias=True, exclude_none=True) for each in env or ())


def _sentence(location: tuple[int | str, ...], message: str) -> str:
    path = "spec"
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return f"{path}: {message[:1].lower()}{message[1:]}"
