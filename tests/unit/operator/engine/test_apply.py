"""When an object is written: only where the live one is not what we want."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpipeline_operator import names
from mlpipeline_operator.apply import needs_apply, with_applied_hash

Body = dict[str, Any]


def wanted() -> Body:
    return with_applied_hash(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": "orchestra-scheduler",
                "namespace": "research",
                "labels": {"team": "physics"},
                "annotations": {"about": "physics"},
            },
            "spec": {
                "replicas": 1,
                "template": {
                    "spec": {
                        "containers": [
                            {
                                "name": "scheduler",
                                "image": "images.test/airflow:1",
                                "env": [
                                    {"name": "HOME", "value": "/home"},
                                    {"name": "EMPTY", "value": ""},
                                ],
                                "resources": {
                                    "limits": {"cpu": "0.5", "memory": "1024Mi"},
                                    "requests": {"cpu": 1},
                                },
                                "securityContext": {"privileged": False, "capabilities": {"drop": ["ALL"]}},
                                "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                                "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                            }
                        ],
                        "volumes": [{"name": "tmp", "emptyDir": {}}],
                    }
                },
            },
        }
    )


def container(body: Body) -> Body:
    found: Body = body["spec"]["template"]["spec"]["containers"][0]
    return found


def as_served() -> Body:
    """The same object, as the API server gives it back: with defaults, and values in its own spelling."""
    body = copy.deepcopy(wanted())
    body["metadata"] |= {"uid": "1", "resourceVersion": "7", "generation": 1}
    body["spec"] |= {"progressDeadlineSeconds": 600, "strategy": {"type": "RollingUpdate"}}
    pod = body["spec"]["template"]["spec"]
    pod |= {"dnsPolicy": "ClusterFirst", "restartPolicy": "Always"}
    inside = container(body)
    inside |= {"terminationMessagePath": "/dev/termination-log", "imagePullPolicy": "IfNotPresent"}
    inside["resources"] = {"limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "1"}}
    del inside["env"][1]["value"]
    del inside["securityContext"]["privileged"]
    body["status"] = {"replicas": 1}
    return body


def test_what_is_not_there_is_written() -> None:
    assert needs_apply(wanted(), None)


def test_what_the_api_server_made_of_our_manifest_is_not_written_again() -> None:
    assert not needs_apply(wanted(), as_served())


def test_an_empty_mapping_that_the_api_server_dropped_is_not_missed() -> None:
    live = as_served()
    del live["spec"]["template"]["spec"]["volumes"][0]["emptyDir"]
    assert not needs_apply(wanted(), live)


def inject_a_sidecar(live: Body) -> None:
    live["spec"]["template"]["spec"]["containers"].insert(0, {"name": "mesh", "image": "mesh"})


def inject_a_variable(live: Body) -> None:
    container(live)["env"].insert(0, {"name": "HTTP_PROXY", "value": "http://proxy"})


def inject_a_mount_of_a_volume_of_ours(live: Body) -> None:
    container(live)["volumeMounts"].append({"name": "tmp", "mountPath": "/var/run/mesh"})


def inject_a_volume(live: Body) -> None:
    live["spec"]["template"]["spec"]["volumes"].append({"name": "token", "projected": {}})


def inject_a_port(live: Body) -> None:
    container(live)["ports"].append({"name": "mesh", "containerPort": 15000, "protocol": "TCP"})


def inject_an_annotation(live: Body) -> None:
    live["metadata"]["annotations"]["mesh"] = "injected"


@pytest.mark.parametrize(
    "inject",
    [
        inject_a_sidecar,
        inject_a_variable,
        inject_a_mount_of_a_volume_of_ours,
        inject_a_volume,
        inject_a_port,
        inject_an_annotation,
    ],
)
def test_what_a_webhook_injects_is_left_alone(inject: Callable[[Body], None]) -> None:
    live = as_served()
    inject(live)
    assert not needs_apply(wanted(), live)


def change_the_image(live: Body) -> None:
    container(live)["image"] = "images.test/airflow:2"


def change_a_quantity(live: Body) -> None:
    container(live)["resources"]["limits"]["memory"] = "2Gi"


def remove_a_variable(live: Body) -> None:
    del container(live)["env"][0]


def fill_an_empty_variable(live: Body) -> None:
    container(live)["env"][1]["value"] = "x"


def remove_the_container(live: Body) -> None:
    live["spec"]["template"]["spec"]["containers"] = [{"name": "mesh", "image": "mesh"}]


def add_a_capability(live: Body) -> None:
    container(live)["securityContext"]["capabilities"]["drop"] = ["NET_RAW"]


def let_it_be_privileged(live: Body) -> None:
    container(live)["securityContext"]["privileged"] = True


def scale_it(live: Body) -> None:
    live["spec"]["replicas"] = 0


def change_a_label(live: Body) -> None:
    live["metadata"]["labels"]["team"] = "biology"


def remove_all_labels(live: Body) -> None:
    del live["metadata"]["labels"]


def remove_our_annotation(live: Body) -> None:
    del live["metadata"]["annotations"][names.APPLIED_HASH_ANNOTATION]


def unmount(live: Body) -> None:
    del container(live)["volumeMounts"]


@pytest.mark.parametrize(
    "drift",
    [
        change_the_image,
        change_a_quantity,
        remove_a_variable,
        fill_an_empty_variable,
        remove_the_container,
        add_a_capability,
        let_it_be_privileged,
        scale_it,
        change_a_label,
        remove_all_labels,
        remove_our_annotation,
        unmount,
    ],
)
def test_a_change_of_a_field_that_we_own_is_healed(drift: Callable[[Body], None]) -> None:
    live = as_served()
    drift(live)
    assert needs_apply(wanted(), live)


def test_a_field_that_we_no_longer_want_is_noticed_by_the_hash() -> None:
    fewer = copy.deepcopy(wanted())
    del fewer["spec"]["replicas"]
    del fewer["metadata"]["annotations"][names.APPLIED_HASH_ANNOTATION]
    assert needs_apply(with_applied_hash(fewer), as_served())


def test_texts_that_look_like_numbers_are_compared_as_texts_in_data() -> None:
    def settings(value: str) -> Body:
        metadata = {"name": "settings", "namespace": "research"}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"limit": value}}

    desired = with_applied_hash(settings("1000"))
    live = copy.deepcopy(desired)
    live["data"]["limit"] = "1k"
    assert needs_apply(desired, live)


def test_the_hash_does_not_depend_on_the_order_of_keys() -> None:
    manifest = {"kind": "ConfigMap", "metadata": {"name": "a", "labels": {"x": "1", "y": "2"}}}
    turned = {"metadata": {"labels": {"y": "2", "x": "1"}, "name": "a"}, "kind": "ConfigMap"}
    assert with_applied_hash(manifest) == with_applied_hash(turned)


def test_annotating_the_hash_changes_no_other_annotation_and_not_the_manifest() -> None:
    manifest = {"kind": "ConfigMap", "metadata": {"name": "a", "annotations": {"mine": "1"}}}
    annotated = with_applied_hash(manifest)
    assert annotated["metadata"]["annotations"]["mine"] == "1"
    assert names.APPLIED_HASH_ANNOTATION in annotated["metadata"]["annotations"]
    assert manifest == {"kind": "ConfigMap", "metadata": {"name": "a", "annotations": {"mine": "1"}}}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab1.mk", max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)


@given(json_values)
def test_what_was_just_written_as_it_is_needs_no_writing(spec: Any) -> None:
    desired = with_applied_hash({"kind": "Thing", "metadata": {"name": "a"}, "spec": spec})
    assert not needs_apply(desired, copy.deepcopy(desired))


@given(json_values, json_values)
def test_another_manifest_is_always_written(before: Any, after: Any) -> None:
    one = with_applied_hash({"kind": "Thing", "metadata": {"name": "a"}, "spec": before})
    other = with_applied_hash({"kind": "Thing", "metadata": {"name": "a"}, "spec": after})
    same = one["metadata"]["annotations"] == other["metadata"]["annotations"]
    assert needs_apply(other, one) is not same
