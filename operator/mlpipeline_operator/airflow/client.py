"""What the operator asks of Airflow, in the operator's words (paths and fields as in Airflow 3.3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

from mlpipeline_operator.airflow.logs import log_tail
from mlpipeline_operator.airflow.models import Dag, DagRun, Health, ImportFailure, RunKey, TaskInstance
from mlpipeline_operator.airflow.paging import Listing, chunks, parsed, read_pages
from mlpipeline_operator.airflow.transport import Transport
from mlpipeline_operator.errors import NotReadyError, SpecError

__all__ = ["AirflowClient"]

T = TypeVar("T")

# Names that one request asks for: 100 hash tags are 5 KB of URL, and proxies refuse more than 8 KB.
_NAMES_PER_REQUEST: Final = 100
_RUNS_PER_REQUEST: Final = 50


class AirflowClient:
    """One Airflow's REST API, for asyncio.

    Every method may raise TransientError (no answer in time, connection refused, 429, 5xx), NotReadyError
    (401, 403, a redirect, an answer that is not Airflow's) or SpecError (400, 422: the request is refused).

    Args:
        url: Airflow's address, without ``/api``.
        username: Who to log in as (``POST /auth/token``).
        password: Their password.
        timeout: Seconds to wait for an answer.
        threads: Calls in flight at the same time.
        others: For an Airflow of somebody else's: ``token``, ``ca``, ``verify_tls`` (see ``Transport``).
    """

    def __init__(
        self,
        url: str,
        username: str = "",
        password: str = "",
        *,
        timeout: float = 10.0,
        threads: int = 2,
        **others: Any,
    ) -> None:
        self._transport = Transport(url, username, password, timeout=timeout, threads=threads, **others)

    @property
    def url(self) -> str:
        """Airflow's address."""
        return self._transport.url

    @property
    def requests(self) -> Counter[str]:
        """Requests sent so far, by the operation's name (``login`` for tokens)."""
        return self._transport.requests

    async def close(self) -> None:
        """Take no more calls, and drop the connections."""
        await self._transport.close()

    async def version(self) -> str:
        """Airflow's version, such as ``3.3.2``; it tells anybody."""
        answer = await self._transport.call("VersionApi", "get_version", anonymous=True)
        return parsed(answer, lambda body: str(body["version"]))

    async def health(self) -> Health:
        """State of Airflow's components."""
        return parsed(await self._transport.call("MonitorApi", "get_health"), Health.parse)

    async def dags(self, dag_ids: Collection[str]) -> dict[str, Dag]:
        """The DAGs of these ids that Airflow has, stale ones too, by dag_id."""
        found: dict[str, Dag] = {}
        for some in chunks(sorted(dag_ids), _NAMES_PER_REQUEST):
            dags = await self._dags(dag_id_prefix_pattern="|".join(some), exclude_stale=False)
            found.update((dag.dag_id, dag) for dag in dags if dag.dag_id in dag_ids)
        return found

    async def dags_tagged(self, tags: Collection[str]) -> dict[str, Dag]:
        """The DAGs that carry any of these tags, by dag_id; stale ones are left out."""
        found: dict[str, Dag] = {}
        for some in chunks(sorted(tags), _NAMES_PER_REQUEST):
            dags = await self._dags(tags=list(some), tags_match_mode="any", exclude_stale=True)
            found.update((dag.dag_id, dag) for dag in dags)
        return found

    async def import_errors(self, bundle: str | None = None) -> list[ImportFailure]:
        """The files that Airflow cannot parse; of one bundle, or of all."""
        listing = await self._list(
            "ImportErrorApi",
            "get_import_errors",
            items="import_errors",
            parse=ImportFailure.parse,
            order_by=["id"],
            bundle_name=bundle,
        )
        return listing.items

    async def trigger(self, dag_id: str, run_id: str, conf: Mapping[str, Any]) -> bool:
        """Start a run, unless there is one of this id already.

        Returns:
            True if this call made it, False if it was there: so an answer that was lost costs nothing.

        Raises:
            NotReadyError: Airflow does not know the DAG (reason ``DagNotFound``), or cannot parse its file
                now (``DagImportError``).
            SpecError: Airflow refuses the run's id or its conf.
        """
        answer = await self._transport.call(
            "DagRunApi",
            "trigger_dag_run",
            dag_id,
            lambda api: api.TriggerDAGRunPostBody(dag_run_id=run_id, conf=dict(conf), logical_date=None),
            also=(400, 404, 409),
        )
        if answer.status == 404:
            raise NotReadyError(f"Airflow does not know the DAG {dag_id} (yet).", reason="DagNotFound")
        if answer.status == 400:
            detail = str(answer.body.get("detail")) if isinstance(answer.body, dict) else str(answer.body)
            if "import errors" in detail:
                raise NotReadyError(
                    f"Airflow cannot parse the file of DAG {dag_id}.", reason="DagImportError"
                )
            raise SpecError(f"Airflow refuses run {run_id} of DAG {dag_id}: {detail}", reason="RunRefused")
        return answer.status != 409

    async def dag_runs_updated_since(
        self, since: datetime, dag_id_prefix: str = ""
    ) -> tuple[list[DagRun], datetime | None]:
        """The runs of all DAGs that changed at or after ``since`` (aware; Airflow's clock).

        Args:
            since: The earliest change wanted.
            dag_id_prefix: Only runs of DAGs whose id begins so.

        Returns:
            The runs, and Airflow's clock when it was asked: whatever changes later is not in them.
        """
        # Ordered by id: what changes while we turn the pages can only come in, never push something out.
        listing = await self._runs(updated_at_gte=since, dag_id_prefix_pattern=dag_id_prefix or None)
        return [run for run in listing.items if run.dag_id.startswith(dag_id_prefix)], listing.asked_at

    async def dag_run(self, dag_id: str, run_id: str) -> DagRun | None:
        """One run, or None if Airflow has none of this id."""
        answer = await self._transport.call("DagRunApi", "get_dag_run", dag_id, run_id, also=(404,))
        return None if answer.status == 404 else parsed(answer, DagRun.parse)

    async def dag_runs(self, keys: Collection[RunKey]) -> dict[RunKey, DagRun]:
        """Those of these runs that Airflow has: 50 in one request, one more for each that seems missing."""
        wanted = set(keys)
        found: dict[RunKey, DagRun] = {}
        # In a pattern, | is OR.
        for some in chunks(sorted(key for key in wanted if "|" not in "".join(key)), _RUNS_PER_REQUEST):
            listing = await self._runs(
                dag_id_prefix_pattern="|".join(sorted({dag_id for dag_id, _ in some})),
                run_id_prefix_pattern="|".join(run_id for _, run_id in some),
            )
            found.update((run.key, run) for run in listing.items if run.key in wanted)
        # A pattern is a range in the database's collation: too little to call a run deleted.
        for dag_id, run_id in sorted(wanted.difference(found)):
            run = await self.dag_run(dag_id, run_id)
            if run is not None:
                found[run.key] = run
        return found

    async def task_instances(self, dag_id: str, run_id: str) -> tuple[TaskInstance, ...]:
        """The task instances of one run; none if there is no such run."""
        return (await self.task_instances_of([(dag_id, run_id)])).get((dag_id, run_id), ())

    async def task_instances_of(self, keys: Collection[RunKey]) -> dict[RunKey, tuple[TaskInstance, ...]]:
        """The task instances of many runs: 50 runs in one request (more if they have over 100 tasks)."""
        found: dict[RunKey, list[TaskInstance]] = {key: [] for key in keys}
        for some in chunks(sorted(found), _RUNS_PER_REQUEST):
            listing = await self._task_instances(
                dag_ids=sorted({dag_id for dag_id, _ in some}),
                dag_run_ids=sorted({run_id for _, run_id in some}),
            )
            for task in listing.items:
                if task.run_key in found:
                    found[task.run_key].append(task)
        return {
            key: tuple(sorted(tasks, key=lambda task: (task.task_id, task.map_index)))
            for key, tasks in found.items()
        }

    async def xcom(self, dag_id: str, run_id: str, task_id: str, key: str) -> Any | None:
        """The value that a task pushed under ``key``, or None if it did not."""
        answer = await self._transport.call(
            "XComApi", "get_xcom_entry", dag_id, task_id, run_id, key, also=(404,)
        )
        return None if answer.status == 404 else parsed(answer, lambda body: body["value"])

    async def task_log(
        self, dag_id: str, run_id: str, task_id: str, try_number: int, *, lines: int = 100
    ) -> tuple[str, ...] | None:
        """The last lines of a task's log, or None if Airflow knows no such attempt."""
        answer = await self._transport.call(
            "TaskInstanceApi",
            "get_log",
            dag_id,
            run_id,
            task_id,
            try_number,
            also=(404,),
            read=lambda response: log_tail(response, lines),
            full_content=True,
            _headers={"Accept": "application/x-ndjson"},
        )
        return None if answer.status == 404 else answer.body

    async def set_dag_run_state(self, dag_id: str, run_id: str, state: str) -> DagRun | None:
        """Mark a run ``queued``, ``success`` or ``failed``; returns it, or None if there is no such run.

        Marking a run failed stops its tasks, whatever state the run is in: see ``cancel``.
        """
        answer = await self._transport.call(
            "DagRunApi",
            "patch_dag_run",
            dag_id,
            run_id,
            lambda api: api.DAGRunPatchBody(state=state),
            update_mask=["state"],
            also=(404,),
        )
        return None if answer.status == 404 else parsed(answer, DagRun.parse)

    async def cancel(self, dag_id: str, run_id: str) -> bool:
        """Stop a run by marking it failed; a finished one is left as it is.

        Returns:
            Whether there was something to stop.
        """
        run = await self.dag_run(dag_id, run_id)
        if run is None or run.finished:
            return False
        return await self.set_dag_run_state(dag_id, run_id, "failed") is not None

    async def resume(self, dag_id: str, run_id: str) -> bool:
        """Have those tasks of an ended run that did not succeed done again, in the run's version of the DAG.

        Returns:
            Whether there was something to do: False if the run is under way, or not there.
        """
        run = await self.dag_run(dag_id, run_id)
        if run is None or not run.finished:
            return False
        tasks = await self.task_instances(dag_id, run_id)
        task_ids = sorted({task.task_id for task in tasks if task.state != "success"})
        answer = await self._transport.call(
            "TaskInstanceApi",
            "post_clear_task_instances",
            dag_id,
            lambda api: api.ClearTaskInstancesBody(
                dag_run_id=run_id,
                task_ids=[api.ClearTaskInstancesBodyTaskIdsInner(task_id) for task_id in task_ids],
                only_failed=False,
                reset_dag_runs=True,
                dry_run=False,
                run_on_latest_version=False,
            ),
            also=(404,),
        )
        return answer.status != 404

    async def delete_dag_run(self, dag_id: str, run_id: str) -> bool:
        """Delete a run and its task instances; returns whether there was one.

        Raises:
            NotReadyError: It is running (reason ``RunActive``): cancel it first.
        """
        answer = await self._transport.call("DagRunApi", "delete_dag_run", dag_id, run_id, also=(404, 409))
        if answer.status == 409:
            raise NotReadyError(
                f"Run {run_id} of DAG {dag_id} is running: Airflow deletes it only once it has ended.",
                reason="RunActive",
            )
        return answer.status != 404

    async def delete_dag(self, dag_id: str) -> bool:
        """Delete a DAG and all that Airflow remembers of it; returns whether there was one."""
        answer = await self._transport.call("DAGApi", "delete_dag", dag_id, also=(404,))
        return answer.status != 404

    async def pause(self, dag_id: str) -> bool:
        """Have Airflow start none of the DAG's tasks; returns whether there is such a DAG."""
        return await self._set_paused(dag_id, True)

    async def unpause(self, dag_id: str) -> bool:
        """Undo ``pause``; returns whether there is such a DAG."""
        return await self._set_paused(dag_id, False)

    async def _set_paused(self, dag_id: str, paused: bool) -> bool:
        answer = await self._transport.call(
            "DAGApi",
            "patch_dag",
            dag_id,
            lambda api: api.DAGPatchBody(is_paused=paused),
            update_mask=["is_paused"],
            also=(404,),
        )
        return answer.status != 404

    async def _dags(self, **filters: Any) -> list[Dag]:
        listing = await self._list(
            "DAGApi", "get_dags", items="dags", parse=Dag.parse, order_by=["dag_id"], **filters
        )
        return listing.items

    async def _runs(self, **filters: Any) -> Listing[DagRun]:
        return await self._list(
            "DagRunApi", "get_dag_runs", "~", items="dag_runs", parse=DagRun.parse, order_by=["id"], **filters
        )

    async def _task_instances(self, **filters: Any) -> Listing[TaskInstance]:
        return await read_pages(
            lambda offset, limit: self._transport.call(
                "TaskInstanceApi",
                "get_task_instances_batch",
                "~",
                "~",
                lambda api: api.TaskInstancesBatchBody(
                    **filters, order_by="id", page_offset=offset, page_limit=limit
                ),
            ),
            "task_instances",
            TaskInstance.parse,
        )

    async def _list(
        self,
        api: str,
        operation: str,
        *args: Any,
        items: str,
        parse: Callable[[Mapping[str, Any]], T],
        **filters: Any,
    ) -> Listing[T]:
        return await read_pages(
            lambda offset, limit: self._transport.call(
                api, operation, *args, offset=offset, limit=limit, **filters
            ),
            items,
            parse,
        )
