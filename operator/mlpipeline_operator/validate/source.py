"""``spec.training.source`` -> ``Code``."""

from __future__ import annotations

from typing import Any, Final

from mlpipeline_operator.api.source import Source
from mlpipeline_operator.errors import SpecError
from mlpipeline_operator.validate.references import ConfigMaps, config_map_files
from mlpipeline_operator.values import Code, GitCode

__all__ = ["source_code", "source_workload"]

_DEFAULT_ENTRYPOINT: Final = "train.py"
_WHERE: Final = "spec.training.source"
# The code goes to Airflow with the DAG, in one ConfigMap; the rest of its MiB is the DAG's.
_LONGEST_BYTES: Final = 512 * 1024


def source_code(source: Source, config_maps: ConfigMaps) -> tuple[Code, str]:
    """Return the code and the entrypoint in it.

    Raises:
        SpecError: Only an edit can mend it, or a ConfigMap that is to be created.
    """
    if [source.inline, source.config_map_ref, source.git].count(None) != 2:
        raise SpecError(f"{_WHERE}: name exactly one place of the code: inline, configMapRef or git")
    entrypoint = source.entrypoint or _DEFAULT_ENTRYPOINT
    if source.git is not None:
        git = source.git
        secret = git.secret_ref.name if git.secret_ref is not None else None
        return Code(git=GitCode(git.url, git.ref, git.path, secret)), entrypoint
    if source.config_map_ref is not None:
        where = f"{_WHERE}.configMapRef"
        files = config_map_files(config_maps, source.config_map_ref.name, where)
        if entrypoint.endswith(".py") and entrypoint not in files:
            raise SpecError(
                f'{_WHERE}.entrypoint: ConfigMap "{source.config_map_ref.name}" has no {entrypoint}; it has'
                f" {', '.join(sorted(files))}"
            )
    else:
        assert source.inline is not None
        where, files = f"{_WHERE}.inline", {_file(entrypoint): source.inline}
    size = sum(len(text.encode()) for text in files.values())
    if size > _LONGEST_BYTES:
        raise SpecError(f"{where}: {size} bytes are more than {_LONGEST_BYTES}: use git")
    return Code(files=dict(sorted(files.items()))), entrypoint


def _file(entrypoint: str) -> str:
    """The name of the one file, by what is run of it."""
    if "/" in entrypoint or "." in entrypoint.partition(":")[0].removesuffix(".py"):
        raise SpecError(f"{_WHERE}.entrypoint: inline code is one file: {entrypoint!r} cannot be in it")
    return entrypoint if entrypoint.endswith(".py") else entrypoint.partition(":")[0] + ".py"


def source_workload(code: Code) -> dict[str, Any]:
    """Return what of the code makes a run another one."""
    if code.git is not None:
        git = {"url": code.git.url, "ref": code.git.ref, "path": code.git.path}
        return {"git": {name: value for name, value in git.items() if value is not None}}
    return {"files": dict(code.files)}
