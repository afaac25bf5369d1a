"""The operator's process under measurement, and what the API server's audit log says of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tools.cluster.api import free_ports
from tools.cluster.paths import REPOSITORY

_TICKS = os.sysconf("SC_CLK_TCK")


class Operator:
    """``python -m mlpipeline_operator run`` with its defaults."""

    def __init__(self, kubeconfig: Path, log: Path, airflow_url: str = "") -> None:
        """Start it; ``airflow_url`` is where it finds every Airflow, if not in the cluster."""
        (self._port,) = free_ports(1)
        environment = {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY / "operator"),
            "KUBECONFIG": str(kubeconfig),
            "MLP_AIRFLOW_IMAGE": "images.example/airflow:1",
            "MLP_TRAINER_IMAGE": "images.example/trainer:1",
            "MLP_POSTGRES_IMAGE": "images.example/postgres:1",
            "MLP_HTTP_PORT": str(self._port),
            **({"MLP_AIRFLOW_URL_TEMPLATE": airflow_url} if airflow_url else {}),
        }
        self._started = time.monotonic()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlpipeline_operator", "run"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def wait(self, reconciles: int = 0) -> float:
        """Wait until it is ready and has looked at so many pipelines; returns seconds since its start."""
        pattern = re.compile(r'^mlpipeline_operator_reconciles_total\{kind="MLPipeline"\} ([0-9.]+)', re.M)
        while True:
            if self._process.poll() is not None:
                raise RuntimeError(f"the operator ended with {self._process.returncode}")
            if self._get("readyz") is not None:
                found = pattern.search(self._get("metrics") or "")
                if reconciles == 0 or (found and float(found[1]) >= reconciles):
                    return time.monotonic() - self._started
            time.sleep(0.05)

    @property
    def rss_megabytes(self) -> float:
        """Resident memory now."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(found[1]) / 1000 if found else 0.0

    @property
    def cpu_seconds(self) -> float:
        """Processor time since its start."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / _TICKS

    def stop(self) -> None:
        """End it as the kubelet does."""
        self._process.terminate()
        self._process.wait(30)

    def _get(self, path: str) -> str | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/{path}", timeout=5) as answer:
                text: str = answer.read().decode()
                return text
        except (urllib.error.URLError, OSError):
            return None


@dataclass(frozen=True)
class Written:
    """The operator's calls in a stretch of the audit log, its Lease left out.

    Attributes:
        writes: How many, by ``verb resource[/subresource]``.
        reads: How many, watches left out.
        first: When its first write began.
        last: When its last write was answered.
        last_child: When the last write of a child, that is of anything but a status, was answered.
        events: How many Events it posted; they are no writes here, since nothing waits for them.
    """

    writes: Counter[str]
    reads: Counter[str]
    first: datetime | None
    last: datetime | None
    last_child: datetime | None
    events: int


def audited(log: Path, start: int) -> Written:
    """Read the audit log from byte ``start`` on."""
    writes: Counter[str] = Counter()
    reads: Counter[str] = Counter()
    began: list[datetime] = []
    ended: list[datetime] = []
    children: list[datetime] = []
    events = 0
    for event in _events(log, start):
        target = event.get("objectRef") or {}
        if event["stage"] != "ResponseComplete" or target.get("resource") == "leases":
            continue
        if target.get("resource") == "events":
            events += 1
            continue
        what = f"{event['verb']} {target.get('resource', '')}"
        what += f"/{target['subresource']}" if target.get("subresource") else ""
        if event["verb"] in ("create", "update", "patch", "delete"):
            writes[what] += 1
            began.append(datetime.fromisoformat(event["requestReceivedTimestamp"]))
            ended.append(datetime.fromisoformat(event["stageTimestamp"]))
            if not target.get("subresource"):
                children.append(ended[-1])
        elif event["verb"] != "watch":
            reads[what] += 1
    edge = {"default": None}
    return Written(writes, reads, min(began, **edge), max(ended, **edge), max(children, **edge), events)


def _events(log: Path, start: int) -> Iterator[dict[str, Any]]:
    with log.open("rb") as file:
        file.seek(start)
        for line in file:
            if line.endswith(b"\n") and (b'"mlpipeline-operator"' in line or b'"kopf' in line):
                yield json.loads(line)
