"""A training outlives a restart of all that it was started by; tests/outages has what takes longer."""

from __future__ import annotations

import time

from tests.e2e.patient import (
    COMPONENTS,
    component_selector,
    epochs_through,
    patient,
    restarts,
    step_pods,
)
from tests.e2e.support import conditions, metrics, state, until, wait_for_run, wait_for_state
from tools.demo.kube import Kube, Object

# Long enough for the pods to be deleted while it trains; where they come back later than its end, it waits.
_EPOCHS = 35
_SECONDS = 2


def test_a_training_outlives_a_restart_of_every_part_of_airflow(
    kube: Kube, namespace: str, mnist: Object, figures: dict[str, float]
) -> None:
    name = "restarted"
    kube.apply(patient(name, _EPOCHS, _SECONDS), namespace=namespace)
    until("two epochs are through", lambda: epochs_through(kube, namespace, name)[1:], seconds=300)
    (before,) = step_pods(kube, namespace, name)
    old = {pod["metadata"]["uid"] for pod in _parts(kube, namespace)}
    assert len(old) >= len(COMPONENTS)
    started = time.monotonic()
    kube.run("delete", "pods", f"-l{component_selector(*COMPONENTS)}", f"-n{namespace}", "--wait=false")
    at_that_time = epochs_through(kube, namespace, name)
    # Else it would show nothing.
    assert len(at_that_time) < _EPOCHS - 5, f"{len(at_that_time)} epochs until all pods were deleted"

    until("Airflow is down", lambda: not _is_up(kube, namespace), seconds=60)
    kube.apply(patient("meanwhile", 1, 0), namespace=namespace)
    waiting = wait_for_state(kube, namespace, "mlpipelinerun/meanwhile-1", "WaitingForAirflow")
    assert waiting["status"]["message"] == "Airflow default is not up (kubectl describe airflow default)"
    assert conditions(waiting)["Reconciling"] == "True"

    run = wait_for_run(kube, namespace, f"{name}-1", seconds=600)
    (after,) = step_pods(kube, namespace, name)
    assert run["status"]["state"] == "Succeeded", run["status"]
    assert run["status"]["attempt"] == 1
    assert "val_loss" in metrics(run["status"])
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert restarts(after) == 0
    through = until("its log can be read", lambda: epochs_through(kube, namespace, name), seconds=60)
    assert through == list(range(1, _EPOCHS + 1))

    until("Airflow is up again", lambda: _is_up(kube, namespace), seconds=300)
    figures["s from the deletion of all of Airflow's pods until it is up again"] = time.monotonic() - started
    assert not old & {pod["metadata"]["uid"] for pod in _parts(kube, namespace)}
    late = wait_for_run(kube, namespace, "meanwhile-1")
    assert state(late) == "Succeeded", late["status"]
    for each in (name, "meanwhile"):
        kube.delete("mlpipeline", each, namespace, wait=90)


def _parts(kube: Kube, namespace: str) -> list[Object]:
    return kube.list("pods", namespace, component_selector(*COMPONENTS))


def _is_up(kube: Kube, namespace: str) -> bool:
    airflow = kube.get("airflow", "default", namespace)
    return state(airflow) == "Running" and conditions(airflow or {})["Ready"] == "True"
