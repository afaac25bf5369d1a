"""What the store keeps, and how it finds it again."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpipeline_operator import names
from mlpipeline_operator.store import Store


def config_map(name: str, version: int = 1, *, uid: str = "one", **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": "research",
            "uid": uid,
            "resourceVersion": str(version),
            "labels": {f"{names.GROUP}/{key}": value for key, value in labels.items()},
        },
        "data": {"version": str(version)},
    }


def run(name: str, pipeline: str) -> dict[str, Any]:
    return {
        "apiVersion": names.API_VERSION,
        "kind": "MLPipelineRun",
        "metadata": {"name": name, "namespace": "research", "uid": name, "resourceVersion": "1"},
        "spec": {"pipelineRef": {"name": pipeline}},
    }


def found(store: Store, label: str, value: str, *kinds: str) -> set[str]:
    return {each["metadata"]["name"] for each in store.labelled(label, "research", value, *kinds)}


def test_the_newest_version_stays_whatever_order_they_come_in() -> None:
    store = Store()
    assert store.put(config_map("settings", 9))
    assert not store.put(config_map("settings", 8))
    kept = store.get("ConfigMap", "research", "settings")
    assert kept is not None
    assert kept["data"] == {"version": "9"}


def test_versions_are_compared_as_numbers() -> None:
    store = Store()
    store.put(config_map("settings", 9))
    assert store.put(config_map("settings", 10))


def test_the_answer_to_our_own_write_is_there_before_the_watch_brings_it() -> None:
    store = Store()
    store.put(config_map("settings", 5))
    store.put(config_map("settings", 8))
    assert not store.put(config_map("settings", 7)), "an event from before the write came late"


def test_what_the_watch_brings_is_no_news_where_it_is_known() -> None:
    store = Store()
    assert store.put(config_map("settings", 5))
    assert not store.put(config_map("settings", 5)), "the echo of our own write needs no second look"


def test_an_old_namesake_that_shows_up_late_does_not_hide_the_new_one() -> None:
    store = Store()
    store.put(config_map("settings", 20, uid="new"))
    assert not store.put(config_map("settings", 19, uid="old"))
    kept = store.get("ConfigMap", "research", "settings")
    assert kept is not None
    assert kept["metadata"]["uid"] == "new"


def test_the_deletion_of_a_namesake_does_not_remove_the_one_that_took_its_place() -> None:
    store = Store()
    store.put(config_map("settings", 20, uid="new", pipeline="digits"))
    store.remove(config_map("settings", 19, uid="old", pipeline="digits"))
    assert found(store, names.PIPELINE_LABEL, "digits") == {"settings"}


def test_a_removed_object_is_found_nowhere() -> None:
    store = Store()
    store.put(config_map("settings", pipeline="digits"))
    store.remove(config_map("settings", 2))
    assert store.get("ConfigMap", "research", "settings") is None
    assert store.of_kind("ConfigMap", "research") == []
    assert found(store, names.PIPELINE_LABEL, "digits") == set()


def test_what_comes_late_of_a_removed_object_does_not_bring_it_back() -> None:
    store = Store()
    store.put(config_map("settings", 5))
    store.remove(config_map("settings", 7))
    assert not store.put(config_map("settings", 6)), "the answer to a write from before the deletion"
    assert store.get("ConfigMap", "research", "settings") is None
    assert store.put(config_map("settings", 8, uid="another"))


def test_only_the_latest_of_the_removed_objects_are_remembered() -> None:
    store = Store()
    for number in range(1001):
        store.remove(config_map("settings", uid=f"number-{number}"))
    assert store.put(config_map("settings", 1, uid="number-0"))
    assert not store.put(config_map("settings", 2, uid="number-1"))


def test_an_object_that_is_going_is_there_until_the_watch_shows_that_it_is_gone() -> None:
    store = Store()
    store.put(config_map("settings", 5, pipeline="digits"))
    store.mark_going(config_map("settings", 5))
    kept = store.get("ConfigMap", "research", "settings")
    assert kept is not None
    assert "deletionTimestamp" in kept["metadata"]
    assert store.put(config_map("settings", 6, pipeline="digits")), "what the watch tells of it is news"
    store.remove(config_map("settings", 6))
    store.mark_going(config_map("settings", 6))
    assert store.get("ConfigMap", "research", "settings") is None


def test_removing_what_is_not_there_does_nothing() -> None:
    Store().remove(config_map("settings"))


def test_objects_are_found_by_the_labels_that_they_have_now() -> None:
    store = Store()
    store.put(config_map("settings", 1, pipeline="digits", airflow="orchestra"))
    store.put(config_map("settings", 2, pipeline="letters"))
    assert found(store, names.PIPELINE_LABEL, "digits") == set()
    assert found(store, names.PIPELINE_LABEL, "letters") == {"settings"}
    assert found(store, names.AIRFLOW_LABEL, "orchestra") == set()


def test_objects_are_found_by_kind_too() -> None:
    store = Store()
    store.put(config_map("settings", pipeline="digits"))
    store.put({**config_map("account", pipeline="digits"), "kind": "ServiceAccount"})
    assert found(store, names.PIPELINE_LABEL, "digits") == {"settings", "account"}
    assert found(store, names.PIPELINE_LABEL, "digits", "ServiceAccount") == {"account"}
    assert [each["metadata"]["name"] for each in store.of_kind("ServiceAccount", "research")] == ["account"]


def test_other_namespaces_are_others() -> None:
    store = Store()
    store.put(config_map("settings", pipeline="digits"))
    assert store.labelled(names.PIPELINE_LABEL, "elsewhere", "digits") == []
    assert store.of_kind("ConfigMap", "elsewhere") == []
    assert store.get("ConfigMap", "elsewhere", "settings") is None


def test_a_run_that_a_user_created_without_labels_belongs_to_its_pipeline_too() -> None:
    store = Store()
    store.put(run("by-hand", "digits"))
    assert found(store, names.PIPELINE_LABEL, "digits", "MLPipelineRun") == {"by-hand"}


def test_managed_fields_are_not_kept() -> None:
    store = Store()
    body = config_map("settings")
    body["metadata"]["managedFields"] = [{"manager": "someone"}]
    store.put(body)
    kept = store.get("ConfigMap", "research", "settings")
    assert kept is not None
    assert "managedFields" not in kept["metadata"]
    assert "managedFields" in body["metadata"], "the caller's object is left alone"


def test_a_kind_that_is_not_watched_is_refused() -> None:
    with pytest.raises(AssertionError):
        Store().put({**config_map("node"), "kind": "Node"})


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "remove"]),
            st.sampled_from("xyz"),
            st.integers(1, 9),
            st.sampled_from(["digits", "letters", None]),
        ),
        max_size=60,
    )
)
def test_the_indexes_always_agree_with_the_objects(
    steps: list[tuple[str, str, int, str | None]],
) -> None:
    store = Store()
    for act, name, version, pipeline in steps:
        body = config_map(name, version, **({"pipeline": pipeline} if pipeline else {}))
        if act == "put":
            store.put(body)
        else:
            store.remove(body)
    objects = {name: store.get("ConfigMap", "research", name) for name in "xyz"}
    present = {name: body for name, body in objects.items() if body is not None}
    assert {each["metadata"]["name"] for each in store.of_kind("ConfigMap", "research")} == set(present)
    for pipeline in ("digits", "letters"):
        labelled = {
            name
            for name, body in present.items()
            if body["metadata"]["labels"].get(names.PIPELINE_LABEL) == pipeline
        }
        assert found(store, names.PIPELINE_LABEL, pipeline) == labelled
