from __future__ import annotations

import json

from mlpipeline_operator import names
from mlpipeline_operator.build.bundle import bundle_manifests
from mlpipeline_operator.values import Owner

AIRFLOW = Owner("mlpipelines.dev/v1alpha1", "Airflow", "team-a", "default", "9f")
FILES = {"b/dag.py": ("b-dag-2", "dag.py"), "a/dag.py": ("a-dag-1", "dag.py")}


def test_the_pointer_names_the_version_that_lists_the_files() -> None:
    version, pointer = bundle_manifests(AIRFLOW, FILES)
    assert pointer["metadata"]["name"] == names.bundle_pointer("default")
    assert pointer["data"] == {"version": version["metadata"]["name"]}
    assert json.loads(version["data"]["manifest.json"]) == {
        "files": {
            "a/dag.py": {"configMap": "a-dag-1", "key": "dag.py"},
            "b/dag.py": {"configMap": "b-dag-2", "key": "dag.py"},
        }
    }


def test_the_version_is_immutable_and_the_pointer_is_not() -> None:
    version, pointer = bundle_manifests(AIRFLOW, FILES)
    assert version["immutable"] is True
    assert "immutable" not in pointer


def test_the_order_of_the_files_makes_no_other_version() -> None:
    assert bundle_manifests(AIRFLOW, dict(reversed(FILES.items()))) == bundle_manifests(AIRFLOW, FILES)


def test_another_set_of_files_is_another_version() -> None:
    changed = {**FILES, "a/dag.py": ("a-dag-2", "dag.py")}
    others: list[dict[str, tuple[str, str]]] = [{}, {"a/dag.py": FILES["a/dag.py"]}, changed, FILES]
    versions = [bundle_manifests(AIRFLOW, files)[0]["metadata"]["name"] for files in others]
    assert len(set(versions)) == len(others)


def test_both_belong_to_the_airflow_and_tell_their_role() -> None:
    for manifest, role in zip(bundle_manifests(AIRFLOW, FILES), ("bundle-version", "bundle"), strict=True):
        assert manifest["metadata"]["labels"][names.ROLE_LABEL] == role
        assert manifest["metadata"]["labels"][names.AIRFLOW_LABEL] == "default"
        assert manifest["metadata"]["ownerReferences"][0]["uid"] == "9f"
