"""From a pydantic model to the structural OpenAPI v3 schema that a CRD holds.

Pydantic writes JSON Schema; a CRD takes a strict subset of OpenAPI v3.0 (see "Specifying a structural schema"
in the Kubernetes documentation). The difference is bridged here: ``$ref`` is inlined, ``anyOf null`` becomes
an optional field, ``const`` an ``enum``, numeric exclusive bounds become boolean ones, titles go. A keyword
that this module does not know is an error, never passed on in the hope that the API server ignores it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

__all__ = ["SchemaError", "structural"]

Schema = dict[str, Any]

# The keywords that are copied as they are, in the order in which they are written.
_PLAIN = (
    "type",
    "format",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "exclusiveMinimum",
    "maximum",
    "exclusiveMaximum",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "nullable",
    "anyOf",
    "required",
)
_EXTENSIONS = (
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "x-kubernetes-validations",
)
_RULE = ("rule", "message", "messageExpression", "reason", "fieldPath")
_NESTED = ("properties", "items", "additionalProperties")
# No schema is nested as deep as this, unless it refers to itself.
_DEEPEST = 32
_DROPPED = ("title", "$defs")


class SchemaError(Exception):
    """A model says something that a structural schema cannot hold."""


def structural(model: type[BaseModel]) -> Schema:
    """Return the structural schema of ``model`` as plain dicts and lists, every reference inlined.

    Raises:
        SchemaError: The model needs a keyword that a structural schema lacks, refers to itself, or has a
            default (the API server would write it into users' objects; ``validate`` fills in defaults
            instead).
    """
    raw = model.model_json_schema(by_alias=True, mode="validation")
    return _node(raw, raw.get("$defs", {}), (model.__name__,))


def _node(raw: Mapping[str, Any], defs: Mapping[str, Any], path: tuple[str, ...]) -> Schema:
    node = _openapi(_inlined(raw, defs, path))
    _refuse_what_is_not_structural(node, path)
    out: Schema = {}
    if "description" in node:
        out["description"] = _paragraphs(node["description"])
    out |= {key: node[key] for key in _PLAIN if key in node}
    if "properties" in node:
        children = node["properties"].items()
        out["properties"] = {name: _node(child, defs, (*path, name)) for name, child in children}
    for key, part in (("items", "[]"), ("additionalProperties", "*")):
        if isinstance(node.get(key), Mapping):
            out[key] = _node(node[key], defs, (*path, part))
    out |= {key: node[key] for key in _EXTENSIONS if key in node}
    if "x-kubernetes-validations" in out:
        # Pydantic sorts the keys; a rule reads better before its message.
        out["x-kubernetes-validations"] = [
            {key: rule[key] for key in _RULE if key in rule} for rule in out["x-kubernetes-validations"]
        ]
    return out


def _refuse_what_is_not_structural(node: Schema, path: tuple[str, ...]) -> None:
    known = {"description", *_PLAIN, *_EXTENSIONS, *_NESTED, *_DROPPED}
    unknown = sorted(set(node) - known)
    if unknown:
        raise SchemaError(f"{'.'.join(path)}: a structural schema has no {', '.join(unknown)}")
    if "anyOf" in node and not node.get("x-kubernetes-int-or-string"):
        raise SchemaError(f"{'.'.join(path)}: a structural schema has no unions")
    if node.get("additionalProperties") is True:
        raise SchemaError(f"{'.'.join(path)}: say what the values of this map are")


def _inlined(raw: Mapping[str, Any], defs: Mapping[str, Any], path: tuple[str, ...]) -> Schema:
    """Resolve references and optional unions; what stands beside a reference wins over what it refers to."""
    node = dict(raw)
    if "anyOf" in node and {"type": "null"} in node["anyOf"]:
        rest = [option for option in node.pop("anyOf") if option != {"type": "null"}]
        if len(rest) != 1:
            raise SchemaError(f"{'.'.join(path)}: a structural schema has no unions")
        # None as the default means that the field may be absent; null as a value is only meant where the
        # field is required.
        nullable = {} if "default" in node else {"nullable": True}
        node = {**_inlined(rest[0], defs, path), **node, **nullable}
    if "$ref" in node:
        if len(path) > _DEEPEST:
            raise SchemaError(
                f"{'.'.join(path[:6])}...: a model that refers to itself has no structural schema"
            )
        name = node.pop("$ref").removeprefix("#/$defs/")
        node = {**_inlined(defs[name], defs, path), **node}
    if node.pop("default", None) is not None:
        raise SchemaError(f"{'.'.join(path)}: defaults belong into validate, not into users' objects")
    return node


def _openapi(node: Schema) -> Schema:
    """Rewrite the keywords that JSON Schema and OpenAPI v3.0 spell differently."""
    if "const" in node:
        node["enum"] = [node.pop("const")]
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if exclusive in node:
            node[bound] = node[exclusive]
            node[exclusive] = True
    return node


def _paragraphs(text: str) -> str:
    """Undo the source's line breaks, but keep blank lines and lists (lines that begin with a dash)."""
    lines: list[str] = []
    fresh = True
    for line in text.strip().splitlines():
        stripped = line.strip()
        if fresh or not stripped or stripped.startswith("- "):
            lines.append(stripped)
        else:
            lines[-1] = f"{lines[-1]} {stripped}"
        fresh = not stripped
    return "\n".join(lines)
