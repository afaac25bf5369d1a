"""Which ConfigMaps a pipeline's code lies in, and the files that one holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mlpipeline_operator.errors import SpecError

__all__ = ["ConfigMaps", "config_map_files", "referenced_config_maps"]

ConfigMaps = Mapping[str, Mapping[str, str]]
"""The data of those ConfigMaps of a namespace that exist, by name."""

_PLACES: Final = (("training", "source", "configMapRef"), ("dag", "configMapRef"))


def referenced_config_maps(body: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the ConfigMaps that must be read before a pipeline can be validated."""
    found = set()
    for place in _PLACES:
        value: Any = body.get("spec")
        for field in (*place, "name"):
            value = value.get(field) if isinstance(value, Mapping) else None
        if isinstance(value, str) and value:
            found.add(value)
    return frozenset(found)


def config_map_files(config_maps: ConfigMaps, name: str, where: str) -> Mapping[str, str]:
    """Return the files that a ConfigMap holds, by name.

    Args:
        config_maps: Those that were read.
        name: Which one.
        where: The field that refers to it.

    Raises:
        SpecError: It is not there (``ConfigMapNotFound``), or holds no text.
    """
    if name not in config_maps:
        raise SpecError(f'{where}: there is no ConfigMap "{name}": create it', reason="ConfigMapNotFound")
    if not config_maps[name]:
        raise SpecError(f'{where}: ConfigMap "{name}" has no `data`: its keys are the names of files')
    return config_maps[name]
