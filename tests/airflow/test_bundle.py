"""The bundle, as Airflow's dag-processor and its workers use it; ConfigMaps from a reader of the test's."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.bundles.base import BundleVersion

from mlpipeline_dags import bundle as bundle_module
from mlpipeline_dags.bundle import FOLDER_VARIABLE, ConfigMapDagBundle
from mlpipeline_dags.checkout import ManifestError
from mlpipeline_dags.kube import KubernetesError


class Cluster:
    """ConfigMaps of one namespace, and whether the API server answers."""

    namespace = "team-a"

    def __init__(self) -> None:
        self.data: dict[str, dict[str, str]] = {}
        self.reads: list[str] = []
        self.error: KubernetesError | None = None

    def config_map(self, namespace: str, name: str) -> dict[str, str] | None:
        assert namespace == self.namespace
        self.reads.append(name)
        if self.error:
            raise self.error
        return self.data.get(name)

    def deliver(self, version: str, **texts: str) -> None:
        """Make ``version`` of these pipelines' DAGs the current one."""
        files = {}
        for pipeline, text in texts.items():
            self.data[f"{pipeline}-{text}"] = {"dag.py": text}
            files[f"{pipeline}/dag.py"] = {"configMap": f"{pipeline}-{text}", "key": "dag.py"}
        self.data[version] = {"manifest.json": json.dumps({"files": files})}
        self.data["pointer"] = {"version": version}


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def make(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    name = f"pipelines-{uuid.uuid4().hex[:6]}"  # each test has a folder of its own

    def make(**options: Any) -> ConfigMapDagBundle:
        return ConfigMapDagBundle(name=name, pointer="pointer", cluster=cluster, **options)

    return make


def texts(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*.py")}


def test_making_one_asks_nothing(cluster: Cluster, make: Any) -> None:
    make(refresh_interval=1)
    assert cluster.reads == []


def test_the_current_version_is_what_the_pointer_names(cluster: Cluster, make: Any) -> None:
    cluster.deliver("v1", a="A1", b="B1")
    bundle = make()
    bundle.initialize()
    assert texts(bundle.path) == {"a/dag.py": "A1", "b/dag.py": "B1"}
    assert bundle.get_current_version() == BundleVersion("v1")


def test_a_refresh_asks_for_the_pointer_alone_while_nothing_changes(cluster: Cluster, make: Any) -> None:
    cluster.deliver("v1", a="A1")
    bundle = make()
    bundle.initialize()
    cluster.reads.clear()
    bundle.refresh()
    bundle.refresh()
    assert cluster.reads == ["pointer", "pointer"]


def test_a_new_version_costs_its_list_and_what_changed(cluster: Cluster, make: Any) -> None:
    cluster.deliver("v1", a="A1", b="B1")
    bundle = make()
    bundle.initialize()
    cluster.reads.clear()
    cluster.deliver("v2", a="A1", b="B2")
    bundle.refresh()
    assert cluster.reads == ["pointer", "v2", "b-B2"]
    assert texts(bundle.path) == {"a/dag.py": "A1", "b/dag.py": "B2"}
    assert bundle.get_current_version() == BundleVersion("v2")


def test_a_restarted_process_fetches_only_what_changed(cluster: Cluster, make: Any) -> None:
    cluster.deliver("v1", a="A1", b="B1")
    make().initialize()
    cluster.reads.clear()
    cluster.deliver("v2", a="A1", b="B2")
    make().initialize()
    assert cluster.reads == ["pointer", "v2", "b-B2"]


def test_without_a_pointer_there_is_no_version_and_no_file(cluster: Cluster, make: Any) -> None:
    bundle = make()
    bundle.initialize()
    assert bundle.path.is_dir()
    assert bundle.get_current_version() is None
    cluster.deliver("v1", a="A1")
    bundle.refresh()
    assert texts(bundle.path) == {"a/dag.py": "A1"}


def test_the_last_pipeline_may_go(cluster: Cluster, make: Any) -> None:
    cluster.deliver("v1", a="A1")
    bundle = make()
    bundle.initialize()
    cluster.deliver("v2")
    bundle.refresh()
    assert texts(bundle.path) == {}
    assert bundle.get_current_version() == BundleVersion("v2")


def test_an_api_server_that_is_away_leaves_the_files_and_is_told_of_once(
    cluster: Cluster, make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.deliver("v1", a="A1")
    bundle = make()
    bundle.initialize()
    cluster.error = KubernetesError("GET /: connection refused")
    bundle.refresh()
    bundle.refresh()
    assert texts(bundle.path) == {"a/dag.py": "A1"}
    assert caplog.text.count("Keeping the DAGs of version v1") == 1


def test_an_api_server_that_is_away_from_the_start_is_an_error(cluster: Cluster, make: Any) -> None:
    cluster.error = KubernetesError("GET /: connection refused")
    with pytest.raises(KubernetesError, match="connection refused"):
        make().initialize()


def test_a_refusal_is_an_error_even_later(cluster: Cluster, make: Any) -> None:
    cluster.deliver("v1", a="A1")
    bundle = make()
    bundle.initialize()
    cluster.error = KubernetesError("GET /: 403 forbidden", 403)
    with pytest.raises(KubernetesError, match="forbidden"):
        bundle.refresh()


def test_a_version_whose_list_cannot_be_read_is_tried_again(cluster: Cluster, make: Any) -> None:
    cluster.deliver("v1", a="A1")
    bundle = make()
    bundle.initialize()
    cluster.data["pointer"] = {"version": "v2"}
    with pytest.raises(ManifestError, match="v2"):
        bundle.refresh()
    assert bundle.get_current_version() == BundleVersion("v1")
    cluster.deliver("v2", a="A2")
    bundle.refresh()
    assert texts(bundle.path) == {"a/dag.py": "A2"}


def test_a_pinned_version_has_a_folder_of_its_own(cluster: Cluster, make: Any) -> None:
    cluster.deliver("v1", a="A1")
    cluster.deliver("v2", a="A2")
    current, pinned = make(), make(version="v1")
    current.initialize()
    pinned.initialize()
    assert texts(pinned.path) == {"a/dag.py": "A1"}
    assert texts(current.path) == {"a/dag.py": "A2"}
    assert pinned.get_current_version() == BundleVersion("v1")
    with pytest.raises(RuntimeError, match="pinned"):
        pinned.refresh()


def test_a_worker_fetches_its_own_pipeline_alone(
    cluster: Cluster, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.deliver("v1", a="A1", ab="AB1", b="B1")
    monkeypatch.setenv(FOLDER_VARIABLE, "a")
    bundle = make(version="v1")
    bundle.initialize()
    assert cluster.reads == ["v1", "a-A1"]
    assert texts(bundle.path) == {"a/dag.py": "A1"}


def test_a_pinned_version_that_is_gone_says_so(make: Any) -> None:
    with pytest.raises(ManifestError, match="v0 does not exist any more"):
        make(version="v0").initialize()


def test_a_changed_file_is_touched_once_more_and_others_are_not(
    cluster: Cluster, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(bundle_module.time, "monotonic", lambda: now)
    cluster.deliver("v1", a="A1", b="B1")
    bundle = make()
    bundle.initialize()
    now += bundle_module.SETTLE_SECONDS
    bundle.refresh()
    cluster.deliver("v2", a="A1", b="B2")
    bundle.refresh()

    def touched() -> list[str]:
        """Let time pass and refresh; tell which files were touched."""
        nonlocal now
        for path in bundle.path.rglob("*.py"):
            os.utime(path, (1, 1))
        now += bundle_module.SETTLE_SECONDS
        bundle.refresh()
        return [path.parent.name for path in bundle.path.rglob("*.py") if path.stat().st_mtime > 1]

    assert touched() == ["b"]
    assert touched() == []
