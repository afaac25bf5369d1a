"""What a container's image, environment and resources look like, in every kind."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import ConfigDict, Field, WithJsonSchema

from mlpipeline_operator.api.base import LIST_MAP_BY_NAME, Name, Wire, rule, rules


def _quantity(holds: str, hint: str) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "maxLength": 32,
            "x-kubernetes-int-or-string": True,
            **rules(rule(f"isQuantity(string(self)) && {holds}", hint)),
        }
    )


Quantity = Annotated[
    int | str,
    _quantity(
        "quantity(string(self)).compareTo(quantity('0')) >= 0",
        "not a quantity; write for example 500m or 2 for cpu, 512Mi or 4Gi for memory",
    ),
]
"""An amount of a resource as Kubernetes writes it: ``500m``, ``2``, ``4Gi``."""
VolumeSize = Annotated[
    int | str,
    _quantity(
        "quantity(string(self)).compareTo(quantity('1Mi')) >= 0",
        "not the size of a volume; write for example 10Gi",
    ),
]
"""The size of a volume: ``10Gi``."""

IMAGE_PATTERN = (
    r"^([a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?(:[0-9]+)?/)?"
    r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[a-f0-9]{64})?$"
)
Image = Annotated[
    str,
    Field(
        max_length=512,
        json_schema_extra=rules(
            rule(
                f"self.matches(r'{IMAGE_PATTERN}')",
                "not an image reference; write for example registry.example.com/team/churn:1.4",
            )
        ),
    ),
]

ENV_NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"


class KeySelector(Wire):
    """One key of a Secret or ConfigMap in the same namespace."""

    name: Name
    """Name of the Secret or ConfigMap."""
    key: Name
    """The key in it."""
    optional: bool | None = None
    """Whether the container starts when the object or the key is missing, without the variable. Default:
    false."""


class EnvVarSource(Wire):
    """Where an environment variable's value comes from."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.secretKeyRef) != has(self.configMapKeyRef)",
                "name exactly one source: secretKeyRef or configMapKeyRef",
            )
        )
    )

    secret_key_ref: KeySelector | None = None
    """A key of a Secret."""
    config_map_key_ref: KeySelector | None = None
    """A key of a ConfigMap."""


ENV_RULES = (
    rule(
        f"self.name.matches(r'{ENV_NAME_PATTERN}')",
        "use letters, digits and '_' only for the name of a variable, and no digit first",
        field=".name",
    ),
    rule(
        "!(has(self.value) && has(self.valueFrom))",
        "value and valueFrom exclude each other: keep one of them",
    ),
)


class EnvVar(Wire):
    """An environment variable of a container."""

    model_config = ConfigDict(json_schema_extra=rules(*ENV_RULES))

    name: Annotated[str, Field(min_length=1, max_length=128)]
    """Name of the variable."""
    value: Annotated[str, Field(max_length=32768)] | None = None
    """Its value, a string (quote numbers and booleans). Default: empty."""
    value_from: EnvVarSource | None = None
    """Where its value comes from, instead of `value`. Passwords and tokens belong into a Secret."""


class WorkloadEnvVar(EnvVar):
    """An environment variable of a training or a step."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            *ENV_RULES,
            rule(
                "self.name == 'MLP_CHECKPOINTS'"
                " || (!self.name.startsWith('MLP_') && !self.name.startsWith('AIRFLOW__'))",
                "names that begin with MLP_ or AIRFLOW__ are the operator's own: choose another",
                field=".name",
                reason="FieldValueForbidden",
            ),
        )
    )


Variable = TypeVar("Variable", bound=EnvVar)
EnvList = Annotated[list[Variable], Field(max_length=128, json_schema_extra=LIST_MAP_BY_NAME)]

_KNOWN_RESOURCE = (
    "k in ['cpu', 'memory', 'ephemeral-storage'] || k.startsWith('hugepages-') || k.contains('/')"
)
_RESOURCE_MESSAGE = "known are cpu, memory, ephemeral-storage and devices such as nvidia.com/gpu"
_WHOLE_DEVICE = "!k.contains('/') || !isQuantity(string(self[k])) || quantity(string(self[k])).isInteger()"
_Quantities = Annotated[
    dict[str, Quantity],
    Field(
        max_length=16,
        json_schema_extra=rules(
            rule(
                f"self.all(k, {_KNOWN_RESOURCE})",
                f"unknown resource: {_RESOURCE_MESSAGE}",
                says=f"'unknown resource \"' + self.filter(k, !({_KNOWN_RESOURCE}))[0]"
                f" + '\": {_RESOURCE_MESSAGE}'",
            ),
            rule(
                f"self.all(k, {_WHOLE_DEVICE})", "a device such as nvidia.com/gpu comes in whole numbers only"
            ),
        ),
    ),
]
# A request over its limit, for what is a quantity at all (what is not has been refused where it stands).
_OVER_LIMIT = (
    "k in self.limits && isQuantity(string(self.requests[k])) && isQuantity(string(self.limits[k]))"
    " && quantity(string(self.requests[k])).isGreaterThan(quantity(string(self.limits[k])))"
)
# Kubernetes refuses such a pod; better to say so at once.
_DEVICE_REQUEST = "k.contains('/') && (!has(self.limits) || !(k in self.limits))"


class Resources(Wire):
    """What a container asks for and what it may use at most."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                f"!has(self.requests) || !has(self.limits) || !self.requests.exists(k, {_OVER_LIMIT})",
                "a request must not be greater than its limit",
                says=f"'the request for ' + self.requests.filter(k, {_OVER_LIMIT})[0]"
                " + ' is greater than its limit: raise the limit or lower the request'",
                field=".requests",
            ),
            rule(
                f"!has(self.requests) || !self.requests.exists(k, {_DEVICE_REQUEST})",
                "a device is asked for in limits, not in requests",
                says=f"self.requests.filter(k, {_DEVICE_REQUEST})[0] + ' is a device: ask for it in limits'",
                field=".requests",
            ),
        )
    )

    requests: _Quantities | None = None
    """What the scheduler sets aside, by resource: `cpu` (cores; half of one is `500m`, or quoted, `"0.5"`),
    `memory` (bytes, `4Gi`), `ephemeral-storage`. Default: the limits."""
    limits: _Quantities | None = None
    """The most it may use, by resource. Over the memory limit the container is killed (OOMKilled). A GPU is
    asked for here: `nvidia.com/gpu: 1`."""
