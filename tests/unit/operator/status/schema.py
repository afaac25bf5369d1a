"""Whether the API server would take a status: by the models, and by the schema that the CRDs hold."""

from collections.abc import Iterator, Mapping
from typing import Any

from mlpipeline_operator.api.airflow import DEFINITION as AIRFLOW
from mlpipeline_operator.api.airflow import AirflowStatus
from mlpipeline_operator.api.pipeline import DEFINITION as PIPELINE
from mlpipeline_operator.api.pipeline import MLPipelineStatus
from mlpipeline_operator.api.run import DEFINITION as RUN
from mlpipeline_operator.api.run import MLPipelineRunStatus
from mlpipeline_operator.api.schema import structural

_MODELS = {"Airflow": AirflowStatus, "MLPipeline": MLPipelineStatus, "MLPipelineRun": MLPipelineRunStatus}
_SCHEMAS = {
    definition.kind: structural(definition.model)["properties"]["status"]
    for definition in (AIRFLOW, PIPELINE, RUN)
}


def assert_accepted(kind: str, status: Mapping[str, Any]) -> None:
    """Fail unless the status of a ``kind`` is one that its CRD takes, with no field that it would refuse."""
    _MODELS[kind].model_validate(status)
    assert list(_unknown(_SCHEMAS[kind], status, "status")) == []
    types = [condition["type"] for condition in status["conditions"]]
    assert len(set(types)) == len(types)


def _unknown(schema: Mapping[str, Any], value: Any, path: str) -> Iterator[str]:
    """Fields that the schema does not have: server-side apply refuses the whole object for one of them."""
    if value is None:
        yield f"{path} is null"
    if isinstance(value, Mapping):
        for key, inner in value.items():
            known = schema.get("properties", {}).get(key) or schema.get("additionalProperties")
            if known is None:
                yield f"{path}.{key}"
            else:
                yield from _unknown(known, inner, f"{path}.{key}")
    elif isinstance(value, list):
        names = [each.get("name") for each in value if isinstance(each, Mapping)]
        if "name" in schema.get("x-kubernetes-list-map-keys", ()) and len(set(names)) != len(value):
            yield f"{path} has a name twice"
        for inner in value:
            yield from _unknown(schema["items"], inner, f"{path}[]")
