from mlpipeline_operator.build.meta import object_meta
from mlpipeline_operator.values import Owner

OWNER = Owner("mlpipelines.dev/v1alpha1", "MLPipeline", "research", "churn", "uid-of-churn")


def test_a_child_lives_beside_its_owner_and_goes_with_it() -> None:
    meta = object_meta(OWNER, "child", {"a": "b"})
    assert meta["namespace"] == "research"
    [reference] = meta["ownerReferences"]
    assert (reference["kind"], reference["name"], reference["uid"]) == ("MLPipeline", "churn", "uid-of-churn")
    assert reference["controller"] is True


def test_what_outlives_its_owner_has_none() -> None:
    assert "ownerReferences" not in object_meta(OWNER, "child", {}, owned=False)


def test_a_childs_labels_are_its_own() -> None:
    labels = {"a": "b"}
    meta = object_meta(OWNER, "child", labels)
    meta["labels"]["c"] = "d"
    assert labels == {"a": "b"}


def test_annotations_are_there_only_if_some_were_given() -> None:
    assert "annotations" not in object_meta(OWNER, "child", {})
    assert object_meta(OWNER, "child", {}, annotations={"x": "y"})["annotations"] == {"x": "y"}
