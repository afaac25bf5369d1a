"""Four trainings at the same time, each in a namespace and an Airflow of its own, of which a part is away.

Not among the tests of ``make test``: ``make test-outages MINUTES=15`` takes twice that. ``-k scheduler`` has
only that part away. The cluster, and what is done with it, is as for the end-to-end tests.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Semaphore

import pytest

from tests.e2e.conftest import figures, kube, pytest_terminal_summary
from tests.outages.outage import Outage, Report
from tools.demo.kube import Kube

__all__ = ["figures", "kube", "pytest_terminal_summary"]

# An Airflow's start is more than a minute of CPU; more at once would only be slower each.
_STARTING_AT_ONCE = 2
_STAGGER_SECONDS = 20


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folder = Path(__file__).parent
    for item in items:
        if folder in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def outages(
    kube: Kube, figures: dict[str, float], request: pytest.FixtureRequest
) -> Iterator[dict[str, Future[Report]]]:
    """What became of each training, by the part that was away; a ``Future``, for some may have gone wrong."""
    minutes = float(os.environ.get("MINUTES", "15"))
    # Time for the part to come back before the training's end; less than MINUTES, and it ends meanwhile.
    training = float(os.environ.get("TRAINING_MINUTES") or minutes + 4)
    wanted = [getattr(item, "callspec", None) for item in request.session.items]
    components = dict.fromkeys(spec.params["component"] for spec in wanted if spec is not None)
    starting = Semaphore(_STARTING_AT_ONCE)
    found: dict[str, Future[Report]] = {}
    all_of_them = [Outage(kube, component, minutes, training, figures) for component in components]
    try:
        with ThreadPoolExecutor(len(all_of_them)) as threads:
            for outage in all_of_them:
                found[outage.component] = threads.submit(outage.run, starting)
                time.sleep(_STAGGER_SECONDS)
        yield found
    finally:
        for outage in all_of_them:
            kube.delete("namespace", outage.namespace)
