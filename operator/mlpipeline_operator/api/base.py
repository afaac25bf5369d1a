"""What every kind is made of: the base model, CEL rules, and the pieces of a CRD beside its schema.

Field descriptions are the strings below the fields; ``kubectl explain`` shows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

LIST_MAP_BY_NAME = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
LIST_MAP_BY_TYPE = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
LIST_SET = {"x-kubernetes-list-type": "set"}

Scalar = Annotated[Any, WithJsonSchema({"x-kubernetes-preserve-unknown-fields": True})]
"""A string, number or boolean. A structural schema has no type for it, so the value is untyped there and
``validate`` refuses lists and objects."""

Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Name = Annotated[str, Field(min_length=1, max_length=253)]


class Wire(BaseModel):
    """Base of everything on the wire: camelCase there, frozen here, types taken as they are.

    Unknown fields are ignored: the API server has refused or pruned them, and an object that a newer version
    stored must not stop this one.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        extra="ignore",
        strict=True,
        frozen=True,
    )


_METADATA = {"type": "object", "properties": {"name": {"type": "string"}}}


class Resource(Wire):
    """The fields that every Kubernetes object has."""

    api_version: str | None = None
    """The group and version of this object's schema: mlpipelines.dev/v1alpha1."""
    kind: str | None = None
    """The kind of this object, in CamelCase."""
    # The API server has its own schema for metadata and takes no description here; the name is said again so
    # that a rule can blame it.
    metadata: Annotated[dict[str, Any], WithJsonSchema(_METADATA)] | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A column of ``kubectl get``; ``wide`` ones show with ``-o wide`` only."""

    name: str
    json_path: str
    description: str
    type: str = "string"
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Definition:
    """A custom resource: its model, and what its CRD says beside the schema."""

    model: type[Wire]
    kind: str
    plural: str
    short: str
    columns: tuple[Column, ...]

    @property
    def singular(self) -> str:
        """The name for one object, as in ``kubectl get NAME``."""
        return self.kind.lower()


def rules(*rule: dict[str, Any]) -> dict[str, Any]:
    """CEL rules as ``json_schema_extra`` of a model or a field."""
    return {"x-kubernetes-validations": list(rule)}


def rule(
    expression: str,
    message: str,
    *,
    says: str | None = None,
    field: str | None = None,
    reason: str | None = None,
) -> dict[str, Any]:
    """One CEL rule.

    Args:
        expression: What must hold; ``self`` is the value, ``oldSelf`` the one before.
        message: What the user reads if it does not: what to do.
        says: A CEL expression for a message that names what was found; ``message`` is the fallback.
        field: JSON path, relative to the value, of the field to blame.
        reason: ``FieldValueInvalid`` (the default), ``FieldValueRequired``, ``FieldValueForbidden``.
    """
    found = {
        "rule": expression,
        "message": message,
        "messageExpression": says,
        "reason": reason,
        "fieldPath": field,
    }
    return {key: value for key, value in found.items() if value is not None}


def name_rule(kind: str, longest: int) -> dict[str, Any]:
    """The rule for ``metadata.name``: other names, hosts and labels are derived from it."""
    return rule(
        f"size(self.metadata.name) <= {longest}"
        " && !format.dns1123Label().validate(self.metadata.name).hasValue()",
        f"the name of {kind} must be at most {longest} characters of a-z, 0-9 and '-', beginning and ending"
        " with a letter or digit: the names of what it owns are made from it",
        field=".metadata.name",
    )
