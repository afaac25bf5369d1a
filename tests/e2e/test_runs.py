"""Runs as resources, on the real cluster: by the clock, from Airflow, held back, stopped and resumed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from tests.e2e.support import (
    AirflowApi,
    conditions,
    log,
    pipeline,
    state,
    until,
    wait_for_run,
    wait_for_state,
)
from tools.demo.kube import Kube, Object

_QUICK = {"epochs": 1}


def _apply(kube: Kube, namespace: str, name: str, parameters: dict[str, object], **spec: object) -> None:
    manifest = pipeline(name, {"dataset": "mnist"}, parameters)
    manifest["spec"] |= spec
    kube.apply(manifest, namespace=namespace)


def _runs(kube: Kube, namespace: str, name: str) -> list[Object]:
    """The runs of a pipeline, oldest first."""
    runs = [
        run for run in kube.list("mlpipelineruns", namespace) if run["spec"]["pipelineRef"]["name"] == name
    ]
    return sorted(runs, key=lambda run: (run["metadata"]["creationTimestamp"], run["metadata"]["name"]))


def _some(kube: Kube, namespace: str, name: str, count: int = 1) -> Callable[[], list[Object]]:
    def look() -> list[Object]:
        runs = _runs(kube, namespace, name)
        return runs if len(runs) >= count else []

    return look


def _set(kube: Kube, namespace: str, resource: str, **spec: object) -> None:
    """Merge fields into a resource's spec."""
    patch = json.dumps({"spec": spec})
    kube.run("patch", resource, f"--namespace={namespace}", "--type=merge", f"--patch={patch}")


def test_a_cron_schedule_fires_and_its_run_is_a_resource(kube: Kube, namespace: str, mnist: Object) -> None:
    _apply(kube, namespace, "nightly", _QUICK, schedule="* * * * *", timezone="Europe/Berlin")
    run = until("the schedule fired", _some(kube, namespace, "nightly"), seconds=240)[0]
    _set(kube, namespace, "mlpipeline/nightly", suspend=True)
    ended = wait_for_run(kube, namespace, run["metadata"]["name"])
    assert ended["status"]["state"] == "Succeeded", ended["status"]
    assert ended["status"]["trigger"] == "Schedule"
    assert ended["status"]["dagRunId"].startswith("scheduled__")
    assert ended["status"]["metric"].startswith("val_accuracy=")

    def rests() -> bool:
        runs = _runs(kube, namespace, "nightly")
        done = all(state(each) == "Succeeded" for each in runs)
        return done and state(kube.get("mlpipeline", "nightly", namespace)) == "Suspended"

    until("the suspended pipeline rests", rests, seconds=300)
    triggers = {each["status"]["trigger"] for each in _runs(kube, namespace, "nightly")}
    assert triggers == {"Schedule"}, "with a schedule the first apply starts nothing"
    kube.delete("mlpipeline", "nightly", namespace, wait=180)


def test_a_run_from_airflows_api_is_a_resource_within_seconds(
    kube: Kube, namespace: str, mnist: Object, airflow: AirflowApi, figures: dict[str, float]
) -> None:
    before = {run["metadata"]["name"] for run in _runs(kube, namespace, "mnist")}
    started = time.monotonic()
    body = {"dag_run_id": "from-the-ui", "logical_date": None, "conf": {"parameters": {"epochs": "1"}}}
    airflow.post(f"/dags/{namespace}.mnist/dagRuns", body)
    runs = until(
        "the run is a resource", _some(kube, namespace, "mnist", len(before) + 1), seconds=120, every=0.2
    )
    figures["s from a run's start in Airflow to its MLPipelineRun"] = time.monotonic() - started
    (name,) = {run["metadata"]["name"] for run in runs} - before
    ended = wait_for_run(kube, namespace, name)
    assert ended["status"]["state"] == "Succeeded", ended["status"]
    assert ended["status"]["trigger"] == "Airflow"
    assert ended["status"]["inputs"]["parameters"] == {"epochs": "1"}
    kube.delete("mlpipelinerun", name, namespace, wait=120)
    assert airflow.get(f"/dags/{namespace}.mnist/dagRuns/from-the-ui") is None
    time.sleep(5)
    assert name not in {run["metadata"]["name"] for run in _runs(kube, namespace, "mnist")}


def test_a_suspended_training_goes_on_from_its_checkpoint(kube: Kube, namespace: str, mnist: Object) -> None:
    _apply(kube, namespace, "long", {"epochs": 6})

    def first_epoch() -> bool:
        run = kube.get("mlpipelinerun", "long-1", namespace)
        steps = ((run or {}).get("status") or {}).get("steps") or [{}]
        pod = steps[0].get("pod")
        return bool(pod) and "Epoch 2/6" in log(kube, namespace, str(pod))

    until("an epoch is done", first_epoch, seconds=300)
    _set(kube, namespace, "mlpipelinerun/long-1", suspend=True)
    stopped = wait_for_state(kube, namespace, "mlpipelinerun/long-1", "Suspended")
    first_pod = stopped["status"]["steps"][0]["pod"]
    _set(kube, namespace, "mlpipelinerun/long-1", suspend=False)
    ended = wait_for_run(kube, namespace, "long-1")
    assert ended["status"]["state"] == "Succeeded", ended["status"]
    assert ended["status"]["attempt"] == 2
    assert ended["status"]["resumedFrom"] == 1
    # Where the disk is slow, not each epoch is kept; the first one is.
    done = ended["status"]["resumedFromEpoch"]
    assert done >= 1
    second_pod = ended["status"]["steps"][0]["pod"]
    assert second_pod != first_pod
    printed = log(kube, namespace, second_pod)
    assert f"Epoch {done}/6" not in printed, "the second attempt began anew"
    assert f"Epoch {done + 1}/6" in printed
    kube.delete("mlpipeline", "long", namespace, wait=180)


def test_forbid_holds_a_second_run_back_until_the_first_has_ended(
    kube: Kube, namespace: str, mnist: Object, airflow: AirflowApi
) -> None:
    policy = {"concurrency": "Forbid"}
    _apply(kube, namespace, "single", {"epochs": 500}, runPolicy=policy)
    wait_for_state(kube, namespace, "mlpipelinerun/single-1", "Running")
    _apply(kube, namespace, "single", {"epochs": 1}, runPolicy=policy)

    def held() -> bool:
        run = kube.get("mlpipelinerun", "single-2", namespace)
        return state(run) == "Queued" and bool((run or {})["status"].get("dagRunId"))

    until("the second run waits in Airflow", held, seconds=180)
    assert state(kube.get("mlpipelinerun", "single-1", namespace)) == "Running"
    _set(kube, namespace, "mlpipelinerun/single-1", cancel=True)
    first = wait_for_run(kube, namespace, "single-1")
    second = wait_for_run(kube, namespace, "single-2")
    assert second["status"]["startedAt"] >= first["status"]["finishedAt"]
    assert conditions(second)["Succeeded"] == "True"
    kube.delete("mlpipeline", "single", namespace, wait=180)


def test_a_cancelled_run_ends_its_pod_and_a_wait_for_it(kube: Kube, namespace: str, mnist: Object) -> None:
    _apply(kube, namespace, "unwanted", {"epochs": 500})
    wait_for_state(kube, namespace, "mlpipelinerun/unwanted-1", "Running")
    _set(kube, namespace, "mlpipelinerun/unwanted-1", cancel=True)
    kube.run(
        "wait",
        "--for=condition=Failed",
        "mlpipelinerun/unwanted-1",
        f"--namespace={namespace}",
        "--timeout=110s",
    )
    run = kube.get("mlpipelinerun", "unwanted-1", namespace)
    assert state(run) == "Cancelled"

    def ended() -> bool:
        assert run is not None
        pod = kube.get("pod", run["status"]["steps"][0]["pod"], namespace)
        return pod is None or pod["status"]["phase"] in ("Succeeded", "Failed")

    until("its pod has ended", ended, seconds=180)
    kube.delete("mlpipeline", "unwanted", namespace, wait=180)
