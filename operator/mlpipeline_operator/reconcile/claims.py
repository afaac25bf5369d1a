"""Who has a dag_id: Airflow would let the second pipeline that brings it silently replace the first one's."""

from __future__ import annotations

from mlpipeline_operator.context import Context
from mlpipeline_operator.errors import SpecError
from mlpipeline_operator.kinds import PIPELINE
from mlpipeline_operator.values import PipelineValue

__all__ = ["claim_dags", "release_dags"]


def claim_dags(context: Context, value: PipelineValue) -> None:
    """Take the pipeline's DAGs for it alone; of two pipelines that bring the same, the older one has it.

    Raises:
        SpecError: Another has one (``DagIdConflict``). This one then has none, also none of before.
    """
    namespace, me = value.owner.namespace, value.owner.name
    wanted = {(namespace, value.airflow, dag_id) for dag_id in _dag_ids(value)}
    for claim in sorted(wanted):
        holder = context.claims.get(claim, me)
        if _seniority(context, namespace, holder) < _seniority(context, namespace, me):
            release_dags(context, namespace, me)
            context.pipelines[namespace, me] = None
            context.conflicts.add((namespace, me))
            raise SpecError(
                f"MLPipeline {holder} has the DAG {claim[2]} already: choose another dag_id",
                reason="DagIdConflict",
            )
    context.conflicts.discard((namespace, me))
    before = context.pipelines.get((namespace, me))
    if before is not None and before.value != value:
        release_dags(context, namespace, me, keep=wanted)
    for claim in wanted:
        holder = context.claims.get(claim, me)
        context.claims[claim] = me
        if holder != me:
            context.enqueue((PIPELINE, namespace, holder))


def release_dags(
    context: Context, namespace: str, name: str, keep: set[tuple[str, str, str]] | None = None
) -> None:
    """Give up a pipeline's DAGs, but for ``keep``, and have those that wanted one looked at again."""
    placed = context.pipelines.get((namespace, name))
    if placed is None:
        return
    for dag_id in _dag_ids(placed.value):
        claim = (namespace, placed.value.airflow, dag_id)
        if claim in (keep or ()):
            continue
        if context.claims.get(claim) == name:
            del context.claims[claim]
            for other in sorted(each for each in context.conflicts if each[0] == namespace):
                context.enqueue((PIPELINE, *other))
        if dag_id == placed.value.dag_id:
            context.connections.await_dag(namespace, placed.value.airflow, dag_id, None)


def _dag_ids(value: PipelineValue) -> set[str]:
    return {value.dag_id, *(value.user_dag.dag_ids if value.user_dag is not None else ())}


def _seniority(context: Context, namespace: str, name: str) -> tuple[str, str]:
    body = context.store.get(PIPELINE, namespace, name)
    return (str(body["metadata"].get("creationTimestamp", "")) if body is not None else "~"), name
