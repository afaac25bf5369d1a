"""The CRDs, generated from the models: ``python -m mlpipeline_operator.api.crd --out crds/``.

The files are committed; ``--check`` tells whether they are what the models say.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from mlpipeline_operator import names
from mlpipeline_operator.api import airflow, pipeline, run
from mlpipeline_operator.api.base import Column, Definition
from mlpipeline_operator.api.schema import structural

__all__ = ["DEFINITIONS", "drift", "files", "main", "manifest"]

DEFINITIONS = (pipeline.DEFINITION, run.DEFINITION, airflow.DEFINITION)
CATEGORY = "mlops"

# From here on a text is folded rather than quoted.
_LONG = 60

_HEADER = "# Generated from operator/mlpipeline_operator/api by `make crds`; do not edit.\n"


def manifest(definition: Definition) -> dict[str, Any]:
    """Return the CustomResourceDefinition of a kind."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{definition.plural}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": definition.kind,
                "listKind": f"{definition.kind}List",
                "plural": definition.plural,
                "singular": definition.singular,
                "shortNames": [definition.short],
                "categories": [CATEGORY],
            },
            "versions": [
                {
                    "name": names.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(column) for column in definition.columns],
                    "schema": {"openAPIV3Schema": structural(definition.model)},
                }
            ],
        },
    }


def files() -> dict[str, str]:
    """Return the text of every file of the ``crds`` folder, by file name."""
    texts = {f"{each.plural}.yaml": _HEADER + _dump(manifest(each)) for each in DEFINITIONS}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(texts),
    }
    return {**texts, "kustomization.yaml": _HEADER + _dump(kustomization)}


def drift(folder: Path) -> list[str]:
    """Return the names of files in ``folder`` that differ from the models, are missing, or too many."""
    wanted = files()
    found = {path.name: path.read_text() for path in folder.glob("*.yaml")}
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))


def main(argv: Sequence[str] | None = None) -> int:
    """Write or check the CRDs; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m mlpipeline_operator.api.crd", description="Generate the CRDs from the models."
    )
    parser.add_argument("--out", type=Path, default=Path("crds"), help="folder of the files (default: crds)")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if a file differs from the models"
    )
    options = parser.parse_args(argv)
    stale = drift(options.out)
    if options.check:
        if stale:
            print(
                f"{options.out}: not what the models say: {', '.join(stale)}; run `make crds`",
                file=sys.stderr,
            )
        return 1 if stale else 0
    options.out.mkdir(parents=True, exist_ok=True)
    wanted = files()
    for name in stale:
        path = options.out / name
        if name in wanted:
            path.write_text(wanted[name])
            print(f"{path}: written")
        else:
            path.unlink()
            print(f"{path}: removed, since no model makes it")
    return 0


def _column(column: Column) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": column.name,
        "type": column.type,
        "jsonPath": column.json_path,
        "description": column.description,
    }
    return {**found, "priority": 1} if column.wide else found


class _Dumper(yaml.SafeDumper):
    """Plain, readable YAML: no anchors, long texts as blocks, lists indented below their key."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else ">" if len(text) > _LONG and " " in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _dump(document: dict[str, Any]) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)


if __name__ == "__main__":
    sys.exit(main())
