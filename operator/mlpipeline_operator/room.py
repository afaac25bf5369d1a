"""Why a step that is due has no pod: a quota that is used up, of which nothing in the cluster tells.

KubernetesExecutor and the launchers of steps' pods try again until there is room. Meanwhile the API server is
asked, with a dry run of a pod as large as the one that is missing, and its words stand in the pod's place.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from mlpipeline_operator.airflow import RunView
from mlpipeline_operator.build.steps import sample_pod
from mlpipeline_operator.cluster import Cluster
from mlpipeline_operator.errors import NotReadyError, OperatorError
from mlpipeline_operator.status.observed import iso
from mlpipeline_operator.status.pods import PodView
from mlpipeline_operator.values import ContainerStep, PipelineValue, Step

__all__ = ["RoomInquiry"]

# A pod is made within seconds, also by a busy Airflow.
_USUAL_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 10.0
# For all runs together: a thousand of them may wait for a slot in Airflow, which is no matter of room.
_PER_SECOND: Final = 2.0


@dataclass(frozen=True, slots=True)
class _Missing:
    """A step whose pod is not there, since when, and what stands in the pod's place as yet."""

    step: Step
    since: datetime
    launcher: PodView | None = None


@dataclass(slots=True)
class RoomInquiry:
    """Asks for the runs of one operator, not too often, and remembers the answers."""

    _answers: dict[tuple[str, str, str], tuple[float, str]] = field(default_factory=dict)
    _next: float = 0.0
    # The steps that wait, and when each was looked at last.
    _waiting: dict[tuple[str, str, str], float] = field(default_factory=dict)

    async def refused(
        self,
        cluster: Cluster,
        pipeline: PipelineValue,
        run: RunView | None,
        pods: Mapping[str, PodView],
        now: datetime,
    ) -> tuple[dict[str, PodView], float | None]:
        """Return what stands in the place of pods that a quota keeps away, and in how many seconds to ask."""
        found: dict[str, PodView] = {}
        again: list[float] = []
        for missing in _missing(pipeline, run, pods):
            waited = (now - missing.since).total_seconds()
            if waited < _USUAL_SECONDS:
                again.append(_USUAL_SECONDS - waited)
                continue
            assert run is not None
            again.append(self._pause(pipeline, missing, run.run.run_id))
            words = await self._words(cluster, pipeline, missing, run.run.run_id)
            if words:
                found[missing.step.name] = _in_its_place(missing, words)
        return found, min(again, default=None)

    def _pause(self, pipeline: PipelineValue, missing: _Missing, run_id: str) -> float:
        """Seconds until a step has its turn again: where thousands wait, as seldom as one can be asked."""
        self._waiting[pipeline.owner.namespace, run_id, missing.step.name] = time.monotonic()
        return max(_AGAIN_SECONDS, len(self._waiting) / _PER_SECOND)

    async def _words(self, cluster: Cluster, pipeline: PipelineValue, missing: _Missing, run_id: str) -> str:
        key = (pipeline.owner.namespace, run_id, missing.step.name)
        asked, words = self._answers.get(key, (-_AGAIN_SECONDS, ""))
        moment = time.monotonic()
        if moment - asked < _AGAIN_SECONDS / 2 or moment < self._next:
            return words
        self._next = moment + 1 / _PER_SECOND
        kept = max(60.0, 2 * len(self._waiting) / _PER_SECOND)
        self._answers = {each: told for each, told in self._answers.items() if moment - told[0] < kept}
        self._waiting = {each: seen for each, seen in self._waiting.items() if moment - seen < kept}
        words = ""
        try:
            await cluster.try_create(
                sample_pod(pipeline, missing.step, launched=missing.launcher is not None)
            )
        except NotReadyError as error:
            if error.reason == "QuotaExceeded":
                words = error.message.partition("is forbidden: ")[2] or error.message
        except OperatorError:
            # Whatever else is wrong with it, the pod's maker tells.
            pass
        self._answers[key] = moment, words
        return words


def _missing(pipeline: PipelineValue, run: RunView | None, pods: Mapping[str, PodView]) -> Iterator[_Missing]:
    """Steps that are due and have no pod of their own yet, in their first attempt."""
    if run is None or run.finished or run.started_at is None:
        return
    for step in pipeline.steps:
        pod = pods.get(step.name)
        if pod is None:
            before = step.depends_on if isinstance(step, ContainerStep) else ()
            earlier = [pods.get(name) for name in before]
            if all(each is not None and each.state == "Succeeded" for each in earlier):
                ends = [each.finished_at for each in earlier if each is not None and each.finished_at]
                yield _Missing(step, max([run.started_at, *map(datetime.fromisoformat, ends)]))
        elif pod.launching and pod.created_at:
            yield _Missing(step, datetime.fromisoformat(pod.created_at), pod)


def _in_its_place(missing: _Missing, words: str) -> PodView:
    if missing.launcher is not None:
        return replace(missing.launcher, message=words)
    return PodView(
        name="",
        task_id=missing.step.name,
        attempt=1,
        state="Queued",
        message=words,
        created_at=iso(missing.since),
    )
