"""A pipeline with steps to render: two in images of their own, one in the worker's pod."""

from __future__ import annotations

from typing import Any

from mlpipeline_operator.validate import validate_pipeline
from mlpipeline_operator.values import Images, PipelineValue

STEPS: list[dict[str, Any]] = [
    {
        "name": "split",
        "image": "registry.example/tools:1",
        "command": ["split", "--seed=$(params.seed)", "{{ ds }}"],
        "env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        "retries": 2,
    },
    {
        "name": "fit",
        "command": ["python", "-m", "mlpipeline_trainer", "fit.py"],
        "args": ["--rows", "$(steps.split.outputs.rows)"],
        "env": [{"name": "ROWS", "value": "$(steps.split.outputs.rows) of $$(params.seed)"}],
        "dependsOn": ["split"],
    },
    {
        "name": "check",
        "image": "registry.example/tools:1",
        "args": ["$(steps.fit.outputs.score)", "$(HOSTNAME)"],
        "resources": {"limits": {"memory": "64Mi"}},
        "dependsOn": ["fit"],
    },
]


def stepped(*steps: dict[str, Any], parameters: dict[str, Any] | None = None) -> PipelineValue:
    """Return the pipeline with these steps, else with all of ``STEPS``."""
    body = {
        "metadata": {"name": "churn", "namespace": "team-a", "uid": "0c1d"},
        "spec": {
            "steps": list(steps or STEPS),
            "parameters": parameters or {"seed": 7},
            "runPolicy": {"retries": 1},
        },
    }
    return validate_pipeline(body, Images("airflow:1", "registry.example/trainer:1", "postgres:1"))
