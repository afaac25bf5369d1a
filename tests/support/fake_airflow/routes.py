"""The routes of the fake Airflow: Airflow 3.3.2's paths, filters, statuses and bodies."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from aiohttp import web

from tests.support.fake_airflow.faults import Handler
from tests.support.fake_airflow.model import FINISHED, FakeDag, FakeModel, FakeRun, FakeTask

__all__ = ["HTTPError", "Routes"]

T = TypeVar("T")

_RUN_ID = re.compile(r"^[A-Za-z0-9_.~:+-]+$")
_BUNDLE = "dags"
_PAGE, _PAGE_LIMIT = 50, 100


class HTTPError(Exception):
    """An answer that is not 2xx: ``{"detail": detail}``."""

    def __init__(self, status: int, detail: Any) -> None:
        self.status, self.detail = status, detail


class Routes:
    """What Airflow answers about a model."""

    def __init__(self, model: FakeModel) -> None:
        self._model = model

    def routes(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler of each route."""
        run = "/api/v2/dags/{dag_id}/dagRuns/{run_id}"
        task = run + "/taskInstances/{task_id}"
        return [
            ("GET", "/api/v2/version", self._get_version),
            ("GET", "/api/v2/monitor/health", self._get_health),
            ("GET", "/api/v2/dags", self._get_dags),
            ("PATCH", "/api/v2/dags/{dag_id}", self._patch_dag),
            ("DELETE", "/api/v2/dags/{dag_id}", self._delete_dag),
            ("GET", "/api/v2/importErrors", self._get_import_errors),
            ("GET", "/api/v2/dags/{dag_id}/dagRuns", self._get_runs),
            ("POST", "/api/v2/dags/{dag_id}/dagRuns", self._trigger),
            ("POST", "/api/v2/dags/{dag_id}/clearTaskInstances", self._clear),
            ("GET", run, self._get_run),
            ("PATCH", run, self._patch_run),
            ("DELETE", run, self._delete_run),
            ("POST", run + "/taskInstances/list", self._list_tasks),
            ("GET", task + "/xcomEntries/{key}", self._get_xcom),
            ("GET", task + "/logs/{try_number}", self._get_log),
        ]

    async def _get_version(self, request: web.Request) -> web.Response:
        return web.json_response({"version": self._model.version, "git_version": None})

    async def _get_health(self, request: web.Request) -> web.Response:
        now = datetime.now(UTC).isoformat()
        body: dict[str, dict[str, Any]] = {"metadatabase": {"status": self._model.health.get("metadatabase")}}
        for name in ("scheduler", "triggerer", "dag_processor"):
            state = self._model.health.get(name)
            body[name] = {"status": state, f"latest_{name}_heartbeat": now if state else None}
        return web.json_response(body)

    async def _get_dags(self, request: web.Request) -> web.Response:
        query = _query(request, "tags", "tags_match_mode", "dag_id_prefix_pattern", "exclude_stale")
        dags = [
            dag
            for dag in self._model.dags.values()
            if not (dag.stale and query["exclude_stale"] != ["false"])
        ]
        if query["tags"]:
            if query["tags_match_mode"] not in ([], ["any"]):
                raise HTTPError(501, "the fake matches any tag")
            dags = [dag for dag in dags if set(dag.tags) & set(query["tags"])]
        dags = [dag for dag in dags if _prefixed(dag.dag_id, query["dag_id_prefix_pattern"])]
        if query["order_by"] != ["dag_id"]:
            raise HTTPError(501, "the fake orders DAGs by dag_id")
        return _page(request, "dags", sorted(dags, key=lambda dag: dag.dag_id), self._dag)

    async def _patch_dag(self, request: web.Request) -> web.Response:
        body = await request.json()
        if set(body) != {"is_paused"}:
            raise HTTPError(422, "is_paused is required")
        dag = self._find_dag(request.match_info["dag_id"])
        dag.paused = body["is_paused"]
        return web.json_response(self._dag(dag))

    async def _delete_dag(self, request: web.Request) -> web.Response:
        dag = self._find_dag(request.match_info["dag_id"])
        del self._model.dags[dag.dag_id]
        for key in [key for key in self._model.runs if key[0] == dag.dag_id]:
            del self._model.runs[key]
        return web.Response(status=204)

    async def _get_import_errors(self, request: web.Request) -> web.Response:
        bundle = _query(request, "bundle_name")["bundle_name"]
        if bundle and bundle != [_BUNDLE]:
            return _page(request, "import_errors", [], dict)
        errors = [
            {
                "import_error_id": number,
                "timestamp": _text(datetime.now(UTC)),
                "filename": path,
                "bundle_name": _BUNDLE,
                "stack_trace": trace,
            }
            for number, (path, trace) in enumerate(self._model.import_errors.items(), 1)
        ]
        return _page(request, "import_errors", errors, dict)

    async def _get_runs(self, request: web.Request) -> web.Response:
        query = _query(request, "updated_at_gte", "dag_id_prefix_pattern", "run_id_prefix_pattern")
        if request.match_info["dag_id"] != "~" or query["order_by"] != ["id"]:
            raise HTTPError(501, "the fake lists the runs of all DAGs (~) by id")
        since = [datetime.fromisoformat(value) for value in query["updated_at_gte"]]
        runs = [
            run
            for run in self._model.runs.values()
            if (not since or run.updated_at >= since[0])
            and _prefixed(run.dag_id, query["dag_id_prefix_pattern"])
            and _prefixed(run.run_id, query["run_id_prefix_pattern"])
        ]
        return _page(request, "dag_runs", sorted(runs, key=lambda run: run.number), self._run)

    async def _trigger(self, request: web.Request) -> web.Response:
        body = await request.json()
        if "logical_date" not in body:
            raise HTTPError(422, [{"type": "missing", "loc": ["body", "logical_date"]}])
        dag_id, run_id = request.match_info["dag_id"], body["dag_run_id"]
        dag = self._model.dags.get(dag_id)
        if dag is None or dag.stale:
            raise HTTPError(404, f"Dag with dag_id: '{dag_id}' not found")
        if dag.path in self._model.import_errors:
            raise HTTPError(400, f"Dag with dag_id: '{dag_id}' has import errors and cannot be triggered")
        if not _RUN_ID.match(run_id):
            raise HTTPError(
                400, f"The run_id provided '{run_id}' does not match regex pattern '{_RUN_ID.pattern}'"
            )
        if (dag_id, run_id) in self._model.runs:
            raise HTTPError(409, {"reason": "Unique constraint violation", "statement": "hidden"})
        run = self._model.start_run(dag_id, run_id, body.get("conf"))
        if self._model.on_trigger is not None:
            self._model.on_trigger(run)
        return web.json_response(self._run(run))

    async def _get_run(self, request: web.Request) -> web.Response:
        return web.json_response(self._run(self._find_run(request)))

    async def _patch_run(self, request: web.Request) -> web.Response:
        run, body = self._find_run(request), await request.json()
        if body.get("state") not in ("queued", *FINISHED):
            raise HTTPError(422, "Input should be 'queued', 'success' or 'failed'")
        unfinished = {name: body["state"] for name, task in run.tasks.items() if task.state not in FINISHED}
        return web.json_response(
            self._run(self._model.advance(run.dag_id, run.run_id, body["state"], tasks=unfinished))
        )

    async def _delete_run(self, request: web.Request) -> web.Response:
        run = self._find_run(request)
        if run.state == "running":
            raise HTTPError(409, f"The DagRun `{run.run_id}` cannot be deleted in running state")
        del self._model.runs[run.dag_id, run.run_id]
        return web.Response(status=204)

    async def _clear(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body.get("dry_run") is not False or body.get("only_failed") is not False:
            raise HTTPError(501, "the fake clears all of the named tasks, and does it")
        run = self._model.runs.get((request.match_info["dag_id"], body["dag_run_id"]))
        if run is None:
            raise HTTPError(404, f"Dag Run id {body['dag_run_id']} not found")
        cleared = [run.tasks[name] for name in body["task_ids"] if name in run.tasks]
        for task in cleared:
            task.state = task.start = task.end = None
        self._model.advance(run.dag_id, run.run_id, "queued")
        return web.json_response(
            {"task_instances": [self._task(run, task) for task in cleared], "total_entries": len(cleared)}
        )

    async def _list_tasks(self, request: web.Request) -> web.Response:
        body = await request.json()
        if set(body) - {"dag_ids", "dag_run_ids", "order_by", "page_offset", "page_limit"}:
            raise HTTPError(501, f"the fake does not know a filter among {sorted(body)}")
        tasks = [
            self._task(run, task)
            for run in self._model.runs.values()
            if run.dag_id in body["dag_ids"] and run.run_id in body["dag_run_ids"]
            for task in run.tasks.values()
        ]
        start, limit = body.get("page_offset", 0), min(body.get("page_limit", 100), _PAGE_LIMIT)
        return web.json_response(
            {"task_instances": tasks[start : start + limit], "total_entries": len(tasks)}
        )

    async def _get_xcom(self, request: web.Request) -> web.Response:
        key, task = request.match_info["key"], self._find_task(request)
        if task is None or key not in task.xcom:
            raise HTTPError(404, f"XCom entry with key: `{key}` not found")
        return web.json_response({"key": key, "task_id": task.task_id, "value": task.xcom[key]})

    async def _get_log(self, request: web.Request) -> web.Response:
        task = self._find_task(request)
        if task is None or int(request.match_info["try_number"]) != task.try_number:
            raise HTTPError(404, "TaskInstance not found")
        if request.headers.get("Accept") != "application/x-ndjson":
            raise HTTPError(501, "the fake gives logs as application/x-ndjson")
        lines = [{"timestamp": None, "event": line, "logger": "task.stdout"} for line in task.log]
        return web.Response(
            text="".join(json.dumps(line) + "\n" for line in lines), content_type="application/x-ndjson"
        )

    def _find_dag(self, dag_id: str) -> FakeDag:
        if dag_id not in self._model.dags:
            raise HTTPError(404, f"Dag with id: {dag_id} was not found")
        return self._model.dags[dag_id]

    def _find_run(self, request: web.Request) -> FakeRun:
        dag_id, run_id = request.match_info["dag_id"], request.match_info["run_id"]
        if (dag_id, run_id) not in self._model.runs:
            raise HTTPError(404, f"The DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` was not found")
        return self._model.runs[dag_id, run_id]

    def _find_task(self, request: web.Request) -> FakeTask | None:
        run = self._model.runs.get((request.match_info["dag_id"], request.match_info["run_id"]))
        return run.tasks.get(request.match_info["task_id"]) if run is not None else None

    def _dag(self, dag: FakeDag) -> dict[str, Any]:
        return {
            "dag_id": dag.dag_id,
            "dag_display_name": dag.dag_id,
            "is_paused": dag.paused,
            "is_stale": dag.stale,
            "last_parsed_time": _text(dag.parsed_at),
            "bundle_name": _BUNDLE,
            "bundle_version": None,
            "relative_fileloc": dag.path,
            "tags": [{"name": tag, "dag_id": dag.dag_id, "dag_display_name": dag.dag_id} for tag in dag.tags],
            "has_import_errors": dag.path in self._model.import_errors,
        }

    def _run(self, run: FakeRun) -> dict[str, Any]:
        return {
            "dag_run_id": run.run_id,
            "dag_id": run.dag_id,
            "logical_date": None,
            "queued_at": _text(run.queued_at),
            "start_date": _text(run.start),
            "end_date": _text(run.end),
            "run_after": _text(run.queued_at),
            "run_type": run.run_type,
            "state": run.state,
            "triggered_by": run.triggered_by,
            "conf": run.conf,
            "bundle_version": None,
        }

    def _task(self, run: FakeRun, task: FakeTask) -> dict[str, Any]:
        return {
            "id": task.id,
            "task_id": task.task_id,
            "dag_id": run.dag_id,
            "dag_run_id": run.run_id,
            "map_index": -1,
            "start_date": _text(task.start),
            "end_date": _text(task.end),
            "queued_when": _text(run.queued_at),
            "state": task.state,
            "try_number": task.try_number,
            "max_tries": 0,
            "hostname": "",
        }


def _query(request: web.Request, *known: str) -> dict[str, list[str]]:
    """The query's values by name; refuses what the fake does not know."""
    names = {*known, "order_by", "limit", "offset"}
    unknown = set(request.query) - names
    if unknown:
        raise HTTPError(501, f"the fake does not know {sorted(unknown)}")
    return {name: request.query.getall(name, []) for name in names}


def _page(
    request: web.Request, name: str, items: Sequence[T], shown: Callable[[T], dict[str, Any]]
) -> web.Response:
    start = int(request.query.get("offset", 0))
    limit = min(int(request.query.get("limit", _PAGE)), _PAGE_LIMIT)
    page = [shown(item) for item in items[start : start + limit]]
    return web.json_response({name: page, "total_entries": len(items)})


def _prefixed(value: str, pattern: list[str]) -> bool:
    """As Airflow does: ``|`` is OR, and what is not a letter or digit at a term's end does not count."""
    terms = [term.rstrip("~.:+-_/=") for term in (pattern[0].split("|") if pattern else [])]
    return not terms or any(value.startswith(term) for term in terms)


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat().replace("+00:00", "Z") if moment else None
