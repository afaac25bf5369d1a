"""``MLPipeline`` -> ``PipelineValue``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from mlpipeline_operator import names
from mlpipeline_operator.api.pipeline import LONGEST_PIPELINE_NAME, MLPipelineSpec
from mlpipeline_operator.api.pipeline import Objective as WireObjective
from mlpipeline_operator.api.training import Training
from mlpipeline_operator.errors import SpecError
from mlpipeline_operator.validate import quantities
from mlpipeline_operator.validate.images import pull_policy
from mlpipeline_operator.validate.policy import run_policy
from mlpipeline_operator.validate.references import ConfigMaps
from mlpipeline_operator.validate.scalars import canonical_parameters
from mlpipeline_operator.validate.schedule import check_schedule, check_timezone
from mlpipeline_operator.validate.source import source_code, source_workload
from mlpipeline_operator.validate.steps import container_steps, steps_workload
from mlpipeline_operator.validate.user_dag import dag_workload, user_dag
from mlpipeline_operator.validate.wire import env_vars, owner, parse_spec
from mlpipeline_operator.values import Images, Objective, PipelineValue, Step, TrainingStep

__all__ = ["TRAINER_PYTHON", "TRAINING_STEP", "validate_pipeline"]

TRAINING_STEP: Final = "train"
# The interpreter that has TensorFlow, in the trainer image and in every image built from it.
TRAINER_PYTHON: Final = "/opt/trainer/bin/python"
_GPU_PREFIXES = ("nvidia.com/gpu", "nvidia.com/mig-")
_NONE: Final[ConfigMaps] = MappingProxyType({})


def validate_pipeline(
    body: Mapping[str, Any], images: Images, config_maps: ConfigMaps = _NONE
) -> PipelineValue:
    """Return what an MLPipeline asks for, every default filled in.

    Args:
        body: The MLPipeline as the API server holds it.
        images: The operator's own images.
        config_maps: Those of ``referenced_config_maps`` that are there.

    Raises:
        SpecError: Only an edit of the pipeline, or of a ConfigMap, can mend it; the message says which.
    """
    spec = parse_spec(MLPipelineSpec, body)
    who = owner(body, "MLPipeline", LONGEST_PIPELINE_NAME)
    parameters = canonical_parameters(spec.parameters)
    dag_id, own_dag = user_dag(spec.dag, config_maps) if spec.dag is not None else (None, None)
    steps, workload = _workload(spec, parameters, images, config_maps)
    if dag_id is not None and own_dag is not None:
        workload = dag_workload(dag_id, own_dag)
    airflow = (spec.airflow and spec.airflow.name) or names.DEFAULT_AIRFLOW
    return PipelineValue(
        owner=who,
        airflow=airflow,
        dag_id=dag_id or names.dag_id(who.namespace, who.name),
        steps=steps,
        parameters=parameters,
        objective=_objective(spec.objective),
        schedule=check_schedule(spec.schedule) if spec.schedule is not None else None,
        timezone=check_timezone(spec.timezone) if spec.timezone is not None else "UTC",
        suspend=bool(spec.suspend),
        policy=run_policy(spec.run_policy, on_change=spec.schedule is None and own_dag is None),
        service_account=names.airflow_service_account(airflow, "worker"),
        artifacts_claim=names.airflow_artifacts_claim(airflow),
        run_hash=_run_hash(workload, parameters),
        user_dag=own_dag,
    )


def _workload(
    spec: MLPipelineSpec, parameters: Mapping[str, str], images: Images, config_maps: ConfigMaps
) -> tuple[tuple[Step, ...], dict[str, Any]]:
    """Return the steps, and what of them makes a run another one."""
    if [spec.training, spec.steps, spec.dag].count(None) != 2:
        raise SpecError("spec: say what to run: exactly one of training, steps and dag")
    if spec.dag is not None:
        return (), {}
    if spec.steps is not None:
        return container_steps(spec.steps, parameters, images), {"steps": steps_workload(spec.steps)}
    assert spec.training is not None
    step = _training_step(spec.training, images, config_maps)
    return (step,), {"training": _training_workload(spec.training, step)}


def _training_step(training: Training, images: Images, config_maps: ConfigMaps) -> TrainingStep:
    code, entrypoint = None, training.entrypoint
    if [training.dataset, training.entrypoint, training.source].count(None) != 2:
        raise SpecError("spec.training: give exactly one of dataset, entrypoint and source")
    if training.requirements and training.dataset is not None:
        raise SpecError("spec.training.requirements: the built-in example needs none")
    if training.source is not None:
        code, entrypoint = source_code(training.source, config_maps)
    if training.entrypoint is not None and training.image is None:
        raise SpecError("spec.training.image: entrypoint needs the image that holds the code")
    resources = quantities.resource_requirements(training.resources, "spec.training.resources")
    return TrainingStep(
        name=TRAINING_STEP,
        image=training.image or images.trainer,
        image_pull_policy=training.image_pull_policy or pull_policy(training.image),
        python=TRAINER_PYTHON,
        dataset=training.dataset,
        data_uri=training.data_uri,
        entrypoint=entrypoint,
        env=env_vars(training.env),
        resources=resources,
        gpu=any(
            name.startswith(_GPU_PREFIXES) and quantities.parse(amount, name) > Decimal(0)
            for name, amount in resources.get("limits", {}).items()
        ),
        code=code,
        requirements=tuple(training.requirements or ()),
    )


def _objective(objective: WireObjective | None) -> Objective | None:
    if objective is None:
        return None
    return Objective(metric=objective.metric, goal=objective.goal or "Maximize")


def _training_workload(training: Training, step: TrainingStep) -> dict[str, Any]:
    workload = training.model_dump(
        by_alias=True,
        exclude_none=True,
        include={"dataset", "data_uri", "image", "entrypoint", "requirements"},
    )
    if step.code is not None:
        workload |= {"entrypoint": step.entrypoint, "source": source_workload(step.code)}
    env = {each.pop("name"): each for each in env_vars(training.env)}
    if env:
        workload["env"] = env
    return workload


def _run_hash(workload: dict[str, Any], parameters: Mapping[str, str]) -> str:
    """Hash of the user's workload: a new one means that a new run is due.

    What only says where or how well it runs (resources, pull policy, retries, objective, Airflow) is left
    out, as are the operator's own images: an upgrade must not train everything again. Fields that are not set
    are left out too, so that a new field in a later release changes no hash.
    """
    if parameters:
        # They stood in the training before there were steps; there they stay, for the hash's sake.
        place = workload.get("training", workload)
        place["parameters"] = dict(parameters)
    return names.short_hash(json.dumps(workload, sort_keys=True, separators=(",", ":")))
