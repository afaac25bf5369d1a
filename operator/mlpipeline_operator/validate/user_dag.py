"""``spec.dag`` -> ``UserDag``: the files, and which DAGs are in them, as far as that can be read."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mlpipeline_operator.api.user_dag import DAG_ID_PATTERN, FILE_PATTERN
from mlpipeline_operator.api.user_dag import UserDag as WireDag
from mlpipeline_operator.errors import SpecError
from mlpipeline_operator.validate.references import ConfigMaps, config_map_files
from mlpipeline_operator.values import UserDag

__all__ = ["dag_workload", "user_dag"]

_LARGEST = 900_000
_MAKERS = frozenset({"DAG", "dag"})


def user_dag(dag: WireDag, config_maps: ConfigMaps) -> tuple[str, UserDag]:
    """Return the id of the DAG that runs are started of, and the files with all that they hold.

    Raises:
        SpecError: There are no files, one has a bad path, together they are too large, or it is not clear
            which DAG is meant.
    """
    if (dag.files is None) == (dag.config_map_ref is None):
        raise SpecError("spec.dag: name exactly one place of the DAG's files: files or configMapRef")
    if dag.config_map_ref is not None:
        where = "spec.dag.configMapRef"
        files = config_map_files(config_maps, dag.config_map_ref.name, where)
    else:
        where, files = "spec.dag.files", dag.files or {}
    if not any(path.endswith(".py") for path in files):
        raise SpecError(f"{where}: none of the files is a Python file: one must hold the DAG")
    for path in files:
        if not re.fullmatch(FILE_PATTERN, path):
            raise SpecError(
                f'{where}: "{path}": write the path of a file as dag.py or helpers/load.py: letters,'
                ' digits, "_", "-" and "."'
            )
    size = sum(len(text.encode()) for text in files.values())
    if size > _LARGEST:
        raise SpecError(f"{where}: {size} bytes are too many: a ConfigMap holds about {_LARGEST}")
    found, broken = _read({path: files[path] for path in sorted(files) if path.endswith(".py")})
    dag_id = dag.dag_id or (next(iter(found)) if len(found) == 1 else None)
    if dag_id is None:
        if broken:
            raise SpecError(f"{where}: {next(iter(broken.values()))}")
        there = f"they hold {', '.join(sorted(found))}" if found else "no id of a DAG is written out in them"
        raise SpecError(f"spec.dag.dagId: say which DAG of the files is to be run: {there}")
    if not re.fullmatch(DAG_ID_PATTERN, dag_id):
        raise SpecError(f'spec.dag.dagId: "{dag_id}" is no dag_id')
    likely = [found.get(dag_id), *broken, *(path for path in files if path.endswith(".py"))]
    path = next(each for each in likely if each is not None)
    return dag_id, UserDag(dict(sorted(files.items())), tuple(sorted({dag_id, *found})), path)


def dag_workload(dag_id: str, dag: UserDag) -> dict[str, Any]:
    """Return what of the DAG makes a run another one."""
    return {"dag": {"dagId": dag_id, "files": dict(dag.files)}}


def _read(files: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the ids of DAGs with the file that each is in, and the files that are no Python with why not."""
    found: dict[str, str] = {}
    broken: dict[str, str] = {}
    for path, text in files.items():
        try:
            found |= {dag_id: path for dag_id in _ids(ast.parse(text))}
        except SyntaxError as error:
            broken[path] = f"{path}:{error.lineno}: {error.msg}"
        except (ValueError, RecursionError, MemoryError) as error:
            broken[path] = f"{path}: {error}"
    return found, broken


def _ids(tree: ast.AST) -> Iterator[str]:
    """The ids of DAGs that are written out in a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func) in _MAKERS:
            given = [each.value for each in node.keywords if each.arg == "dag_id"] or node.args[:1]
            if given and isinstance(given[0], ast.Constant) and isinstance(given[0].value, str):
                yield given[0].value
        elif isinstance(node, ast.FunctionDef):
            yield from _decorated(node)


def _decorated(function: ast.FunctionDef) -> Iterator[str]:
    """The id of a function under ``@dag`` that names none itself; a call that does is found as such."""
    for decorator in function.decorator_list:
        call = decorator if isinstance(decorator, ast.Call) else None
        named = call is not None and (call.args or any(each.arg == "dag_id" for each in call.keywords))
        if _name(call.func if call else decorator) == "dag" and not named:
            yield function.name


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
