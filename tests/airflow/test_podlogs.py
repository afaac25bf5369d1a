"""Where the log of a task that has ended is looked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator

from mlpipeline_dags.podlogs import PodLogs


class Asked:
    """A cluster that remembers the namespaces that it was asked for."""

    namespace = "platform"

    def __init__(self) -> None:
        self.namespaces: list[str] = []

    def pods(self, namespace: str, labels: dict[str, str]) -> list[dict[str, Any]]:
        self.namespaces.append(namespace)
        return [{"metadata": {"name": "the-pod"}}]

    def pod_log(self, namespace: str, pod: str, container: str) -> list[str]:
        self.namespaces.append(namespace)
        return ["epoch 1", "epoch 2"]


def task(executor_config: dict[str, Any] | None) -> Any:
    identity = {"dag_id": "research.mnist", "run_id": "mnist-1", "task_id": "train", "map_index": -1}
    return SimpleNamespace(**identity, state="success", try_number=1, executor_config=executor_config)


@pytest.fixture
def named() -> dict[str, Any]:
    pod = {"metadata": {"namespace": "research"}, "spec": {"containers": []}}
    return {"pod_override": PodGenerator.deserialize_model_dict(pod)}


def test_a_pod_is_looked_for_in_the_namespace_that_its_task_names(named: dict[str, Any]) -> None:
    asked = Asked()
    where, log = PodLogs(asked).read("attempt=1.log", task(named))
    assert asked.namespaces == ["research", "research"]
    assert where == ["Log of pod research/the-pod"]
    assert log == ["epoch 1\nepoch 2"]


@pytest.mark.parametrize("config", [None, {}])
def test_a_pod_of_a_task_that_names_none_is_where_the_executor_starts_them(
    monkeypatch: pytest.MonkeyPatch, config: dict[str, Any] | None
) -> None:
    monkeypatch.setenv("AIRFLOW__KUBERNETES_EXECUTOR__NAMESPACE", "workers")
    asked = Asked()
    PodLogs(asked).read("attempt=1.log", task(config))
    assert asked.namespaces == ["workers", "workers"]
