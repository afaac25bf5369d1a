"""The real cluster with the operator of this working tree in it, and one trained pipeline to look at.

The cluster is the one of ``make cluster`` (``$MLP_CLUSTER``): one that is up stays up, one that the tests
had to start is taken down. No other kubeconfig is ever used.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.support import AirflowApi, airflow_api, pipeline, wait_for_run, wait_for_state
from tools.cluster import lifecycle
from tools.cluster.paths import DEFAULT_NAME, Layout
from tools.cluster.progress import Progress
from tools.demo.install import install
from tools.demo.kube import Kube, Object

_MINUTES_FOR_A_RUN = 15
_FIGURES = pytest.StashKey[dict[str, float]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folder = Path(__file__).parent
    for item in items:
        if folder in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(_MINUTES_FOR_A_RUN * 60))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if figures := config.stash.get(_FIGURES, {}):
        terminalreporter.section("figures")
        for name, value in figures.items():
            terminalreporter.write_line(f"{value:10.2f}  {name}")


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> dict[str, float]:
    """Figures to report at the end, by what they are; nothing asserts them."""
    return pytestconfig.stash.setdefault(_FIGURES, {})


@pytest.fixture(scope="session")
def kube(uncaptured: Callable[[], AbstractContextManager[None]]) -> Iterator[Kube]:
    """The cluster, with the operator ready in it."""
    layout = Layout(os.environ.get("MLP_CLUSTER", DEFAULT_NAME))
    was_up = lifecycle.status(layout)["state"] == "Ready"
    progress = Progress("e2e")
    try:
        with uncaptured():
            kube = install(layout, progress)
        _refuse_foreign(kube, layout)
        yield kube
    finally:
        if not was_up:
            with uncaptured():
                lifecycle.down(layout, progress)


def _refuse_foreign(kube: Kube, layout: Layout) -> None:
    """These tests delete things: be sure that the cluster is the one that we made."""
    server = kube.run("config", "view", "--minify", "--output=jsonpath={.clusters[0].cluster.server}")
    known = lifecycle.status(layout)
    assert known["state"] == "Ready", known
    assert known["url"] in (None, server), f"{kube.kubeconfig} leads to {server}, not to {known['url']}"


@pytest.fixture(scope="session")
def namespace(kube: Kube) -> Iterator[str]:
    """A namespace of the session's own, with the restricted security level enforced."""
    name = f"e2e-{secrets.token_hex(3)}"
    kube.run("create", "namespace", name)
    kube.run("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    kube.delete("namespace", name)


@pytest.fixture(scope="session")
def mnist(kube: Kube, namespace: str, figures: dict[str, float]) -> Object:
    """The example pipeline after its first run, trained once for the whole session."""
    started = time.monotonic()
    kube.apply(pipeline("mnist", {"dataset": "mnist"}, {"epochs": 3}), namespace=namespace)
    run = wait_for_run(kube, namespace, "mnist-1", seconds=_MINUTES_FOR_A_RUN * 60)
    figures["s from the first apply (Airflow cold) to the run's end"] = time.monotonic() - started
    assert run["status"]["state"] == "Succeeded", json.dumps(run["status"], indent=1)
    # The pipeline tells it a moment later.
    return wait_for_state(kube, namespace, "mlpipeline/mnist", "Succeeded")


@pytest.fixture
def airflow(kube: Kube, namespace: str, mnist: Object) -> Iterator[AirflowApi]:
    """Airflow's REST API, after a login as its ``status.access`` says."""
    with airflow_api(kube, namespace) as api:
        yield api
