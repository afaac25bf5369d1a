"""``MLPipelineRun`` -> ``RunValue``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlpipeline_operator import names
from mlpipeline_operator.api.run import LONGEST_RUN_NAME, MLPipelineRunSpec
from mlpipeline_operator.validate.scalars import canonical_parameters
from mlpipeline_operator.validate.wire import owner, parse_spec
from mlpipeline_operator.values import RunValue

__all__ = ["validate_run"]


def validate_run(body: Mapping[str, Any]) -> RunValue:
    """Return what an MLPipelineRun asks for.

    Raises:
        SpecError: Only another run can mend it; the message says why.
    """
    spec = parse_spec(MLPipelineRunSpec, body)
    who = owner(body, "MLPipelineRun", LONGEST_RUN_NAME)
    mirrored = (body["metadata"].get("annotations") or {}).get(names.DAG_RUN_ID_ANNOTATION)
    return RunValue(
        owner=who,
        pipeline=spec.pipeline_ref.name,
        dag_run_id=mirrored or names.dag_run_id(who.name, who.uid),
        is_mirrored=bool(mirrored),
        parameters=canonical_parameters(spec.parameters),
        cancel=bool(spec.cancel),
        suspend=bool(spec.suspend),
    )
