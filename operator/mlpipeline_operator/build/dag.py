"""The DAG of a pipeline: a plain Airflow file, its pipeline's values as literals at its head.

The file is ``dag_template.py``, a readable DAG that runs on any Airflow 3 with the standard and the
cncf.kubernetes provider; only the block between its ``<pipeline>`` marks is written anew. Where the pipeline
has steps in place of a training, what stands between ``<training>`` marks goes, and ``steps_template.py``
comes in. Values enter it as Python literals alone, so that no text of a user's can become code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from mlpipeline_operator import names
from mlpipeline_operator.build.literals import literal
from mlpipeline_operator.build.meta import object_meta
from mlpipeline_operator.build.steps import container_step, worker_pod
from mlpipeline_operator.values import ContainerStep, PipelineValue, Step, TrainingStep

__all__ = ["DAG_KEY", "RenderedDag", "dag_config_map", "render_dag"]

DAG_KEY: Final = "dag.py"
_GIT_MOUNT: Final = "/mlp/git"
_BEGIN, _END = "# <pipeline>\n", "# </pipeline>\n"


def _source(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _without(text: str, *sections: str) -> str:
    """Return a template without these sections, and without the marks of the others."""
    for section in sections:
        text = re.sub(rf"^ *# <{section}>\n.*?^ *# </{section}>\n", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"^ *# </?(training|steps|pods)/?>\n", "", text, flags=re.MULTILINE)


_TEMPLATE: Final = _source("dag_template.py")
_HEAD: Final = _TEMPLATE.partition(_BEGIN)[0] + _BEGIN
_TAIL: Final = _END + _TEMPLATE.partition(_END)[2]
_STEPS: Final = _source("steps_template.py").partition("# <steps>\n")[2].partition("# </steps>\n")[0]
_WITH_STEPS: Final = _TAIL.replace("# <steps/>\n", _STEPS)
_TAILS: Final = {
    "training": _without(_TAIL),
    "commands": _without(_WITH_STEPS, "training", "pods"),
    "pods": _without(_WITH_STEPS, "training"),
}
_TITLE: Final = "default/mnist"


@dataclass(frozen=True, slots=True)
class RenderedDag:
    """A DAG file. ``hash`` names its content; ``text`` carries it as a tag, by which Airflow shows it."""

    hash: str
    text: str


def render_dag(pipeline: PipelineValue) -> RenderedDag:
    """Return the DAG of a pipeline."""
    before, after = _render(pipeline)
    digest = names.short_hash(before + after)
    return RenderedDag(digest, before + digest + after)


def dag_config_map(pipeline: PipelineValue, digest: str, data: Mapping[str, str]) -> dict[str, Any]:
    """Return the immutable ConfigMap that delivers a DAG's files, whose hash is given, to its Airflow."""
    name = pipeline.owner.name
    labels = {
        **names.pipeline_labels(name),
        names.ROLE_LABEL: "dag",
        names.AIRFLOW_LABEL: pipeline.airflow,
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": object_meta(pipeline.owner, names.dag_config_map(name, digest), labels),
        "immutable": True,
        "data": dict(data),
    }


def _render(pipeline: PipelineValue) -> tuple[str, str]:
    """Return the file's text before and after its hash."""
    owner = pipeline.owner
    root = names.artifacts_path(owner.namespace, owner.name, "").rstrip("/")
    claim_uri = names.artifacts_uri(pipeline.artifacts_claim, owner.namespace, owner.name, "").rstrip("/")
    constants: dict[str, Any] = {
        "DAG_ID": pipeline.dag_id,
        "DESCRIPTION": f"MLPipeline {owner.namespace}/{owner.name}",
        "SCHEDULE": None if pipeline.suspend else pipeline.schedule,
        "TIMEZONE": pipeline.timezone,
        "MAX_ACTIVE_RUNS": 1 if pipeline.policy.concurrency == "Forbid" else None,
        "DEADLINE_SECONDS": pipeline.policy.deadline,
        "RETRIES": pipeline.policy.retries,
        "RETRY_DELAY_SECONDS": pipeline.policy.retry_delay,
        "MAX_RETRY_DELAY_SECONDS": pipeline.policy.max_retry_delay,
        "PARAMETERS": dict(sorted(pipeline.parameters.items())),
        "ARTIFACTS": f"{names.ARTIFACTS_MOUNT}/{root}",
        "ARTIFACTS_URI": claim_uri,
        "STEPS": [_step(pipeline, step) for step in pipeline.steps],
    }
    lines = "".join(f"{name} = {literal(value, len(name) + 3)}\n" for name, value in constants.items())
    head = _HEAD.replace(_TITLE, f"{owner.namespace}/{owner.name}", 1)
    tags = f'TAGS = ["{names.DAG_TAG}", "{names.dag_hash_tag("")}'
    return f"{head}{lines}{tags}", f'"]\n{_tail(pipeline)}'


def _tail(pipeline: PipelineValue) -> str:
    steps = [step for step in pipeline.steps if isinstance(step, ContainerStep)]
    if not steps:
        return _TAILS["training"]
    return _TAILS["pods" if any(step.own_pod for step in steps) else "commands"]


def _step(pipeline: PipelineValue, step: Step) -> dict[str, Any]:
    return container_step(pipeline, step) if isinstance(step, ContainerStep) else _training(pipeline, step)


def _training(pipeline: PipelineValue, step: TrainingStep) -> dict[str, Any]:
    environment = {
        "MLP_DATASET": step.dataset,
        "MLP_DATA_URI": step.data_uri,
        "MLP_ENTRYPOINT": step.entrypoint,
        "MLP_OBJECTIVE": pipeline.objective.metric if pipeline.objective else None,
        "MLP_OBJECTIVE_GOAL": pipeline.objective.goal if pipeline.objective else None,
        "MLP_EXPECT_GPU": "1" if step.gpu else None,
        "MLP_REQUIREMENTS": json.dumps(step.requirements) if step.requirements else None,
    }
    pod = worker_pod(pipeline, step, step.env)
    code: dict[str, Any] = {}
    if step.code is not None and step.code.git is not None:
        git = step.code.git
        environment |= {"MLP_GIT_URL": git.url, "MLP_GIT_REF": git.ref, "MLP_GIT_PATH": git.path}
        if git.secret is not None:
            environment["MLP_GIT_CREDENTIALS"] = _GIT_MOUNT
            _mount_secret(pod["spec"], git.secret)
    elif step.code is not None:
        code = {"code": dict(step.code.files)}
    return {
        "name": step.name,
        "after": [],
        "command": [step.python, "-m", "mlpipeline_trainer", "run"],
        "environment": {name: value for name, value in environment.items() if value is not None},
        "worker": pod,
        **code,
    }


def _mount_secret(spec: dict[str, Any], secret: str) -> None:
    # Optional: without it the training says what is missing, where the pod would only wait.
    volume = {"name": "git", "secret": {"secretName": secret, "optional": True}}
    spec["volumes"].append(volume)
    mount = {"name": "git", "mountPath": _GIT_MOUNT, "readOnly": True}
    spec["containers"][0]["volumeMounts"].append(mount)
