"""A pipeline to render."""

from __future__ import annotations

from pathlib import Path

from mlpipeline_operator.build.dag import render_dag
from mlpipeline_operator.values import Objective, Owner, PipelineValue, RunPolicy, TrainingStep


def pipeline(python: str = "/opt/trainer/bin/python", retries: int = 1) -> PipelineValue:
    """Return a pipeline whose step runs ``python``."""
    step = TrainingStep(
        name="train",
        image="registry.example/trainer:1",
        image_pull_policy="IfNotPresent",
        python=python,
        dataset="mnist",
        data_uri=None,
        entrypoint=None,
        env=({"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},),
        resources={"limits": {"memory": "4Gi"}, "requests": {"cpu": "500m"}},
        gpu=False,
    )
    return PipelineValue(
        owner=Owner("mlpipelines.dev/v1alpha1", "MLPipeline", "team-a", "mnist", "0c1d"),
        airflow="default",
        dag_id="team-a.mnist",
        steps=(step,),
        parameters={"epochs": "3"},
        objective=Objective("val_accuracy", "Maximize"),
        schedule=None,
        timezone="UTC",
        suspend=False,
        policy=RunPolicy(on_change=True, retries=retries),
        service_account="airflow-default-worker",
        artifacts_claim="airflow-default-artifacts",
        run_hash="abc",
    )


def write_dag(folder: Path, value: PipelineValue) -> Path:
    """Write the pipeline's DAG into ``folder``."""
    path = folder / "dag.py"
    path.write_text(render_dag(value).text)
    return path
