"""Runs at scale: many pipelines' runs, triggered and mirrored, against a fake Airflow on loopback.

The fake answers as Airflow's REST API does and runs nothing, so what is measured is the operator and the API
server; kubelet and dag-processor are played as in the integration tests.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.integration.operator.support.api import Api
from tests.integration.operator.support.site import RESULT
from tests.integration.operator.support.world import Airflow, World
from tests.support.fake_airflow import FakeAirflow
from tools.bench.client import Client
from tools.bench.operator import Operator, audited
from tools.cluster.paths import Layout
from tools.cluster.progress import Progress

_NAMESPACE = "bench"
_GROUP = f"/apis/mlpipelines.dev/v1alpha1/namespaces/{_NAMESPACE}"
_TRAIN = "train"


def _pipeline(number: int) -> dict[str, Any]:
    return {
        "apiVersion": "mlpipelines.dev/v1alpha1",
        "kind": "MLPipeline",
        "metadata": {"name": f"bench-{number:05}"},
        "spec": {
            "training": {"dataset": "mnist"},
            "schedule": "@daily",
            "objective": {"metric": "val_accuracy"},
            "runPolicy": {"onChange": True},
        },
    }


class _Phases:
    """What each phase took, and what was asked of the API server and of Airflow meanwhile."""

    def __init__(self, layout: Layout, airflow: Airflow, progress: Progress) -> None:
        self.figures: dict[str, Any] = {}
        self._layout, self._airflow, self._progress = layout, airflow, progress

    async def measure(self, name: str, act: Callable[[], Any], done: Callable[[], Any]) -> None:
        """Do something, and wait until ``done`` is true."""
        start, asked = self._layout.audit_log.stat().st_size, self._requests()
        with self._progress.phase(name):
            began = time.monotonic()
            await act()
            while True:
                asked_at = time.monotonic()
                if await done():
                    break
                if asked_at - began > 900:
                    raise RuntimeError(f"after 15 minutes still not so: {name}")
                # The question must not be what keeps the API server busy.
                await asyncio.sleep(max(1.0, 9 * (time.monotonic() - asked_at)))
            seconds = time.monotonic() - began
        found, requests = audited(self._layout.audit_log, start), self._requests() - asked
        self.figures[name] = {
            "seconds": round(seconds, 1),
            "api_server_writes": dict(found.writes.most_common()),
            "api_server_reads": dict(found.reads.most_common()),
            "api_server_requests_per_second": round(
                (found.writes.total() + found.reads.total()) / seconds, 1
            ),
            "airflow_requests": dict(requests.most_common()),
            "airflow_requests_per_second": round(requests.total() / seconds, 1),
        }

    def _requests(self) -> Counter[str]:
        return self._airflow.do(lambda fake: Counter(fake.requests))


async def measure_runs(
    layout: Layout, pipelines: int, runs_each: int, clients: int, progress: Progress
) -> dict[str, Any]:
    """Measure ``pipelines`` with ``runs_each`` runs: one triggered by the operator, the others by Airflow."""
    api = Api(layout.kubeconfig)
    total = pipelines * runs_each
    with Airflow() as airflow, World(api, _NAMESPACE, airflow):
        operator = Operator(layout.kubeconfig, layout.logs / "operator.log", airflow.url)
        try:
            async with Client(layout.kubeconfig) as client:
                operator.wait()
                phases = _Phases(layout, airflow, progress)
                cpu = operator.cpu_seconds
                await phases.measure(
                    f"{pipelines} pipelines, until Airflow has a run of each",
                    lambda: client.create(f"{_GROUP}/mlpipelines", map(_pipeline, range(pipelines)), clients),
                    lambda: _async(airflow.do(lambda fake: len(fake.runs)) >= pipelines),
                )
                await phases.measure(
                    f"{total - pipelines} runs that Airflow starts, until each is a resource",
                    lambda: _async(airflow.do(lambda fake: _schedule(fake, runs_each - 1))),
                    lambda: _counted(client, total),
                )
                await phases.measure(
                    f"{total} runs that end, until each says so",
                    lambda: _async(airflow.do(_succeed_all)),
                    lambda: _ended(client, total),
                )
                figures = phases.figures
                figures["operator_cpu_seconds"] = round(operator.cpu_seconds - cpu, 1)
                figures["operator_rss_megabytes"] = round(operator.rss_megabytes)
        finally:
            operator.stop()
            api.close()
    return figures


async def _async(value: Any) -> Any:
    return value


async def _counted(client: Client, total: int) -> bool:
    return await client.count(f"{_GROUP}/mlpipelineruns") >= total


async def _ended(client: Client, total: int) -> bool:
    body = await client.get(f"{_GROUP}/mlpipelineruns")
    states = Counter((each.get("status") or {}).get("state") for each in body["items"])
    return states["Succeeded"] >= total


def _schedule(fake: FakeAirflow, count: int) -> None:
    for dag_id in list(fake.dags):
        for number in range(count):
            run_id = f"scheduled__2026-11-{number + 1:02}T00:00:00+00:00"
            fake.start_run(dag_id, run_id, run_type="scheduled", triggered_by="timetable")
            fake.advance(dag_id, run_id, "running", {_TRAIN: "running"})


def _succeed_all(fake: FakeAirflow) -> None:
    for dag_id, run_id in list(fake.runs):
        fake.advance(dag_id, run_id, "success", {_TRAIN: "success"}, {_TRAIN: {"result": RESULT}})
