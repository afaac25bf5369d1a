"""The Airflow that the tests talk to: the fake one, or a real one that the environment names.

For a real one: Airflow 3.3 with ``dags/*.py`` of this folder in a bundle that is refreshed often, DAGs not
paused at creation, and ``MLP_AIRFLOW_URL``, ``MLP_AIRFLOW_USER`` and ``MLP_AIRFLOW_PASSWORD`` set.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from mlpipeline_operator.airflow import AirflowClient, DagRun
from tests.support.fake_airflow import FakeAirflow

REAL_URL = os.environ.get("MLP_AIRFLOW_URL")
WAIT_SECONDS = 90.0


@dataclass(slots=True)
class Site:
    """An Airflow with two DAGs and a file that it cannot import."""

    url: str
    username: str
    password: str
    fake: FakeAirflow | None
    dag_id: str = "mlp-test.ok"
    other_dag_id: str = "mlp-test.ok-too"
    dag_hash: str = "0123456789"
    path: str = "mlp_test_ok.py"
    broken_path: str = "mlp_test_broken.py"
    missing_module: str = "a_module_that_is_not_there"
    broken_line: int = 5
    task_id: str = "train"

    def client(self) -> AirflowClient:
        return AirflowClient(self.url, self.username, self.password)

    @staticmethod
    def run_id() -> str:
        return f"mnist-1.{uuid.uuid4()}"

    async def until_running(self, client: AirflowClient, run_id: str) -> DagRun:
        if self.fake is not None:
            self.fake.advance(self.dag_id, run_id, "running", tasks={self.task_id: "running"})
        return await self._until(client, run_id, {"running"})

    async def until_finished(self, client: AirflowClient, run_id: str) -> DagRun:
        if self.fake is not None:
            failed = self.fake.runs[self.dag_id, run_id].conf.get("fail")
            state = "failed" if failed else "success"
            self.fake.advance(
                self.dag_id,
                run_id,
                state,
                tasks={self.task_id: state},
                xcom={} if failed else {self.task_id: {"metrics": {"val_accuracy": "0.981"}}},
                log={self.task_id: ["hello from the training"]},
            )
        return await self._until(client, run_id, {"success", "failed"})

    async def _until(self, client: AirflowClient, run_id: str, states: set[str]) -> DagRun:
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                run = await client.dag_run(self.dag_id, run_id)
                if run is not None and run.state in states:
                    return run
                await asyncio.sleep(0.5)


@asynccontextmanager
async def open_site() -> AsyncIterator[Site]:
    if REAL_URL:
        user, password = os.environ["MLP_AIRFLOW_USER"], os.environ["MLP_AIRFLOW_PASSWORD"]
        yield Site(REAL_URL, user, password, None)
        return
    async with FakeAirflow() as fake:
        site = Site(fake.url, fake.username, fake.password, fake)
        fake.parse(site.dag_id, site.path, ["mlpipelines.dev", f"mlpipelines.dev/dag-hash={site.dag_hash}"])
        fake.parse(site.other_dag_id, site.path, ["mlpipelines.dev"])
        fake.fail_import(
            site.broken_path,
            "Traceback (most recent call last):\n"
            '  File "<frozen importlib._bootstrap>", line 488, in _call_with_frames_removed\n'
            f'  File "/opt/airflow/dags/{site.broken_path}", line {site.broken_line}, in <module>\n'
            f"    import {site.missing_module}\n"
            f"ModuleNotFoundError: No module named '{site.missing_module}'\n",
        )
        yield site
