"""Kubernetes quantities, as far as validation needs them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from mlpipeline_operator.api.containers import Resources
from mlpipeline_operator.errors import SpecError

__all__ = ["parse", "resource_requirements"]

# k8s.io/apimachinery/pkg/api/resource/quantity.go: a signed number, then a binary, decimal or exponent
# suffix.
_QUANTITY = re.compile(
    r"(?P<number>[+-]?(\d+(\.\d*)?|\.\d+))((?P<binary>[KMGTPE])i|(?P<decimal>[numkMGTPE])|[eE](?P<exponent>[+-]?\d{1,3}))?",
    re.ASCII,
)
_BINARY = {suffix: Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


def parse(quantity: str | int, path: str) -> Decimal:
    """Return the number that a quantity stands for.

    Raises:
        SpecError: It is not a quantity; ``path`` names it.
    """
    match = _QUANTITY.fullmatch(str(quantity))
    if match is None:
        raise SpecError(f'{path}: "{quantity}" is not a quantity; write for example 500m, 2, 512Mi or 4Gi')
    number = Decimal(match["number"])
    if match["binary"]:
        return number * _BINARY[match["binary"]]
    power = int(match["exponent"] or 0) or _DECIMAL.get(match["decimal"] or "", 0)
    return number.scaleb(power)


def resource_requirements(resources: Resources | None, path: str) -> dict[str, Any]:
    """Return a container's ResourceRequirements, every quantity a string.

    Raises:
        SpecError: Something is not a quantity, negative, or a request is greater than its limit.
    """
    if resources is None:
        return {}
    groups = {"requests": resources.requests or {}, "limits": resources.limits or {}}
    amounts = {
        group: {name: _amount(value, f"{path}.{group}.{name}") for name, value in values.items()}
        for group, values in groups.items()
    }
    for name, amount in amounts["requests"].items():
        if name in amounts["limits"] and amount > amounts["limits"][name]:
            raise SpecError(
                f"{path}: the request for {name} is greater than its limit:"
                " raise the limit or lower the request"
            )
    return {group: _strings(values) for group, values in groups.items() if values}


def _amount(quantity: str | int, path: str) -> Decimal:
    amount = parse(quantity, path)
    if amount < 0:
        raise SpecError(f'{path}: "{quantity}" must not be negative')
    return amount


def _strings(values: Mapping[str, str | int]) -> dict[str, str]:
    return {name: str(values[name]) for name in sorted(values)}
