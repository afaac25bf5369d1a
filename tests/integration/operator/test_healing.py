"""What is changed or deleted by hand is put right, with no more writes than that takes."""

import base64
import time
from typing import Any

from mlpipeline_operator import names
from tests.integration.operator.support.site import Site, wait_for

SCHEDULER = names.airflow_component("default", "scheduler")


def test_a_child_that_was_edited_by_hand_is_healed_with_one_write(running: Site) -> None:
    running.world.starts_pods = False
    template = {"spec": {"template": {"metadata": {"annotations": {names.CONFIG_HASH_ANNOTATION: "mine"}}}}}
    before = running.get("Deployment", SCHEDULER)["spec"]["template"]["metadata"]["annotations"]
    running.api.merge("Deployment", running.namespace, SCHEDULER, template)
    wait_for(
        lambda: running.get("Deployment", SCHEDULER)["spec"]["template"]["metadata"]["annotations"] == before,
        "the annotation is ours again",
    )
    running.world.starts_pods = True
    running.wait_ready("Airflow", "default")
    running.settle()
    assert running.writes()["patch deployments"] == 1


def test_what_others_add_to_a_child_stays(running: Site) -> None:
    # Labels alone on the Deployment: its generation grows with each annotation.
    running.api.merge("Deployment", running.namespace, SCHEDULER, {"metadata": {"labels": {"team": "us"}}})
    service = names.airflow_component("default", "api-server")
    added = {"metadata": {"labels": {"team": "us"}, "annotations": {"about": "us"}}}
    running.api.merge("Service", running.namespace, service, added)
    time.sleep(2)
    assert running.get("Deployment", SCHEDULER)["metadata"]["labels"]["team"] == "us"
    assert running.get("Service", service)["metadata"]["annotations"]["about"] == "us"
    assert running.writes() == {}


def test_children_that_were_deleted_are_made_again_with_one_write_each(running: Site) -> None:
    children = [
        ("Service", names.airflow_component("default", "api-server")),
        ("ConfigMap", names.airflow_config("default")),
        ("ConfigMap", names.bundle_pointer("default")),
        ("ServiceAccount", names.airflow_service_account("default", "worker")),
    ]
    old = {child: running.get(*child)["metadata"]["uid"] for child in children}
    for kind, name in children:
        running.api.delete(kind, running.namespace, name)

    def are_new() -> bool:
        bodies = {(kind, name): running.api.get(kind, running.namespace, name) for kind, name in children}
        return all(body and body["metadata"]["uid"] != old[child] for child, body in bodies.items())

    wait_for(are_new, "all are there again")
    running.settle()
    assert running.writes() == {"patch services": 1, "patch configmaps": 2, "patch serviceaccounts": 1}


def test_a_dag_that_was_deleted_is_delivered_again(running: Site) -> None:
    running.api.apply(running.pipeline(runPolicy={"onChange": False}))
    running.wait_ready("MLPipeline", "digits")
    (name,) = running.names("ConfigMap", f"{names.ROLE_LABEL}=dag")
    running.settle()
    running.restart_audit()
    running.api.delete("ConfigMap", running.namespace, name)
    wait_for(lambda: name in running.names("ConfigMap"), "the DAG is there again")
    running.settle()
    assert running.writes() == {"patch configmaps": 1}


def orphan(site: Site, name: str, *, owned: bool) -> dict[str, Any]:
    airflow = site.get("Airflow", "default")
    owner = {
        "apiVersion": names.API_VERSION,
        "kind": "Airflow",
        "name": "default",
        "uid": airflow["metadata"]["uid"],
    }
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": site.namespace,
        "labels": names.airflow_labels("default"),
    }
    if owned:
        metadata["ownerReferences"] = [owner]
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def test_what_an_earlier_release_made_and_nobody_wants_any_more_is_removed(running: Site) -> None:
    running.api.create(orphan(running, "not-ours-but-labelled", owned=False))
    running.api.create(orphan(running, "ours-once", owned=True))
    wait_for(lambda: "ours-once" not in running.names("ConfigMap"), "the orphan is gone")
    running.settle()
    assert "not-ours-but-labelled" in running.names("ConfigMap")
    assert running.writes() == {"delete configmaps": 1}


def test_secrets_are_made_once_and_never_written_again(running: Site) -> None:
    before = {
        secret["metadata"]["name"]: secret["data"]
        for secret in running.api.list("Secret", running.namespace, names.AIRFLOW_LABEL)
    }
    assert set(before) == {
        names.airflow_secrets("default"),
        names.airflow_admin_secret("default"),
        names.airflow_database_secret("default"),
    }
    running.api.merge("Airflow", running.namespace, "default", {"spec": {"maxActiveRuns": 3}})
    running.wait_ready("Airflow", "default")
    running.settle()
    after = running.api.list("Secret", running.namespace, names.AIRFLOW_LABEL)
    assert {secret["metadata"]["name"]: secret["data"] for secret in after} == before
    assert "create secrets" not in running.writes()


def test_no_secret_is_in_any_status(running: Site) -> None:
    text = str(running.status("Airflow", "default"))
    for secret in running.api.list("Secret", running.namespace, names.AIRFLOW_LABEL):
        for key, value in secret["data"].items():
            if key != "username":
                assert base64.b64decode(value).decode() not in text
