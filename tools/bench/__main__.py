"""The command line: ``python3 -m tools.bench`` on a fresh control plane, in the developers' environment."""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tools.bench.client import Client
from tools.bench.operator import Operator, Written, audited
from tools.bench.runs import measure_runs
from tools.cluster import lifecycle
from tools.cluster.api import kubectl_path
from tools.cluster.paths import REPOSITORY, Layout
from tools.cluster.progress import Progress

_NAMESPACE = "bench"
_CONFIG_MAPS = f"/api/v1/namespaces/{_NAMESPACE}/configmaps"
_GROUP = f"/apis/mlpipelines.dev/v1alpha1/namespaces/{_NAMESPACE}"
_CRDS = [f"crd/{kind}.mlpipelines.dev" for kind in ("airflows", "mlpipelineruns", "mlpipelines")]


def _pipeline(number: int) -> dict[str, Any]:
    return {
        "apiVersion": "mlpipelines.dev/v1alpha1",
        "kind": "MLPipeline",
        "metadata": {"name": f"bench-{number:05}"},
        "spec": {"training": {"dataset": "mnist"}, "parameters": {"epochs": 3}},
    }


def _config_map(number: int) -> dict[str, Any]:
    name = {"name": f"raw-{number:05}"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": name, "data": {"text": "x" * 2000}}


async def _until(
    probe: Callable[[], Coroutine[Any, Any, int]], wanted: int, what: str, progress: Progress
) -> None:
    with progress.phase(f"Waiting for {wanted} {what}"):
        deadline = time.monotonic() + 900
        while (found := await probe()) < wanted:
            if time.monotonic() > deadline:
                raise RuntimeError(f"after 15 minutes there are {found} of {wanted} {what}")
            await asyncio.sleep(0.5)


async def _measure(layout: Layout, count: int, clients: int, progress: Progress) -> dict[str, Any]:
    log = layout.logs / "operator.log"
    async with Client(layout.kubeconfig) as client:
        with progress.phase(f"{count} ConfigMaps by {clients} clients: the API server alone"):
            raw = count / await client.create(_CONFIG_MAPS, map(_config_map, range(count)), clients)
        operator = Operator(layout.kubeconfig, log)
        try:
            ready = operator.wait()
            # It has the Lease, and has made the Airflow, when it has looked at the first pipeline.
            await client.post(f"{_GROUP}/mlpipelines", _pipeline(99999))
            operator.wait(reconciles=1)
            await asyncio.sleep(5)
            idle, cpu, start = operator.rss_megabytes, operator.cpu_seconds, layout.audit_log.stat().st_size
            with progress.phase(f"{count} pipelines by {clients} clients"):
                created = await client.create(f"{_GROUP}/mlpipelines", map(_pipeline, range(count)), clients)
            await _until(lambda: client.count(f"{_GROUP}/mlpipelineruns"), count + 1, "runs", progress)
            dags = "mlpipelines.dev/role=dag"
            await _until(lambda: client.count(_CONFIG_MAPS, dags), count + 1, "DAGs", progress)
            work = await _settled(layout.audit_log, start)
            cpu, rss = operator.cpu_seconds - cpu, operator.rss_megabytes
        finally:
            operator.stop()
        start = layout.audit_log.stat().st_size
        operator = Operator(layout.kubeconfig, log)
        try:
            with progress.phase("Restarting the operator"):
                again = operator.wait()
                looked = operator.wait(reconciles=count + 1)
            rest = await _settled(layout.audit_log, start)
            restarted = operator.rss_megabytes
        finally:
            operator.stop()
    if work.first is None or work.last is None or work.last_child is None:
        raise RuntimeError("the operator wrote nothing")
    return {
        "pipelines": count,
        "clients": clients,
        "raw_api_server_writes_per_second": round(raw, 1),
        "client_seconds": round(created, 2),
        "pipelines_per_second": round(count / (work.last_child - work.first).total_seconds(), 1),
        "operator_writes": work.writes.total(),
        "operator_writes_per_second": round(
            work.writes.total() / (work.last - work.first).total_seconds(), 1
        ),
        "operator_writes_per_pipeline": round(work.writes.total() / count, 2),
        "operator_writes_by_kind": dict(work.writes.most_common()),
        "operator_reads": dict(work.reads),
        "operator_events_meanwhile": work.events,
        "operator_cpu_seconds": round(cpu, 2),
        "operator_rss_megabytes": {"idle": round(idle), "after": round(rss), "restarted": round(restarted)},
        "start_seconds": {
            "first": round(ready, 2),
            "again": round(again, 2),
            "again_all_seen": round(looked, 2),
        },
        "restart_writes": dict(rest.writes),
        "restart_reads": dict(rest.reads),
        "restart_events": rest.events,
    }


async def _settled(log: Path, start: int) -> Written:
    """Return what the operator asked since ``start``, once it has written nothing for three seconds."""
    known, since = -1, time.monotonic()
    while time.monotonic() - since < 3:
        found = audited(log, start)
        if found.writes.total() != known:
            known, since = found.writes.total(), time.monotonic()
        await asyncio.sleep(0.5)
    return found


def _prepare(layout: Layout) -> None:
    kubectl = [kubectl_path(lifecycle.programs()), f"--kubeconfig={layout.kubeconfig}"]
    for arguments in (
        ["apply", "--server-side", f"--kustomize={REPOSITORY / 'crds'}"],
        ["wait", "--for=condition=Established", "--timeout=30s", *_CRDS],
        ["create", "namespace", _NAMESPACE],
    ):
        subprocess.run([*kubectl, *arguments], check=True, stdout=subprocess.DEVNULL)


def main() -> int:
    """Measure, print a table and, on request, write the figures as JSON."""
    parser = argparse.ArgumentParser(prog="python3 -m tools.bench", description=__doc__)
    parser.add_argument("--pipelines", type=int, default=1000, help="how many (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=16, help="that create them (default: %(default)s)")
    parser.add_argument(
        "--runs",
        type=int,
        metavar="N",
        help="measure N runs of each pipeline instead, against a fake Airflow on loopback",
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    arguments = parser.parse_args()
    layout, progress = Layout("mlp-bench"), Progress("bench")
    lifecycle.down(layout, progress)
    lifecycle.up(layout, progress, control_plane_only=True)
    try:
        _prepare(layout)
        if arguments.runs:
            measured = measure_runs(layout, arguments.pipelines, arguments.runs, arguments.clients, progress)
        else:
            measured = _measure(layout, arguments.pipelines, arguments.clients, progress)
        figures = asyncio.run(measured)
    finally:
        lifecycle.down(layout, progress)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    width = max(map(len, figures))
    for name, value in figures.items():
        print(f"{name.replace('_', ' '):{width}}  {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
