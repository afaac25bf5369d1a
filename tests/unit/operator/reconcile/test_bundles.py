"""Which DAGs are in the bundle, when a new version of it is written, and how long old ones are kept."""

import json
from datetime import datetime
from typing import Any

import pytest

from mlpipeline_operator import names
from mlpipeline_operator.build.delivery import delivery
from mlpipeline_operator.context import Context, PlacedPipeline
from mlpipeline_operator.reconcile.bundles import reconcile_bundle
from mlpipeline_operator.store import Store
from mlpipeline_operator.validate import validate_pipeline
from tests.unit.operator.reconcile.recorder import IMAGES, Recorder, context_of

Body = dict[str, Any]
POINTER = names.bundle_pointer("orchestra")


class Bundle:
    """A namespace with one Airflow and its bundle."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.api, self.store = Recorder(), Store()
        self.context = context_of(self.api, self.store)
        monkeypatch.setattr(Context, "now", lambda _: self.now())
        self.put("Airflow", "orchestra", spec={})

    def now(self) -> datetime:
        return self.api.clock

    def put(self, kind: str, name: str, **fields: Any) -> Body:
        labels = fields.pop("labels", {})
        metadata = {"name": name, "namespace": "research", "labels": labels}
        body = self.api.served(
            {"apiVersion": names.API_VERSION, "kind": kind, "metadata": metadata, **fields}
        )
        self.store.put(body)
        return body

    def pipeline(self, name: str, **parameters: Any) -> Body:
        spec = {
            "training": {"dataset": "mnist"},
            "airflow": {"name": "orchestra"},
            "parameters": parameters,
        }
        return self.put("MLPipeline", name, spec=spec)

    def look_at(self, body: Body) -> str:
        """What the pipeline's own reconcile does: its DAG's ConfigMap, and the note of it."""
        value = validate_pipeline(body, IMAGES)
        dag_hash, manifest = delivery(value)
        self.store.put(self.api.served(manifest))
        name = str(manifest["metadata"]["name"])
        self.context.pipelines["research", value.owner.name] = PlacedPipeline(value, dag_hash, name)
        return name

    async def reconcile(self) -> list[tuple[str, str, str]]:
        """Reconcile, and return what was written."""
        self.api.writes.clear()
        await reconcile_bundle(self.context, "research", "orchestra")
        return list(self.api.writes)

    def current(self) -> dict[str, str]:
        """Path -> ConfigMap in the version that the pointer names."""
        pointer = self.store.get("ConfigMap", "research", POINTER)
        assert pointer is not None
        version = self.store.get("ConfigMap", "research", pointer["data"]["version"])
        assert version is not None
        files = json.loads(version["data"]["manifest.json"])["files"]
        return {path: entry["configMap"] for path, entry in files.items()}

    def names(self, role: str) -> set[str]:
        found = self.store.labelled(names.AIRFLOW_LABEL, "research", "orchestra", "ConfigMap")
        return {
            each["metadata"]["name"] for each in found if each["metadata"]["labels"][names.ROLE_LABEL] == role
        }


@pytest.fixture
def bundle(monkeypatch: pytest.MonkeyPatch) -> Bundle:
    return Bundle(monkeypatch)


async def test_many_pipelines_make_one_version_and_the_pointer_follows_it(bundle: Bundle) -> None:
    dags = {
        names.dag_path(name): bundle.look_at(bundle.pipeline(name)) for name in ("digits", "letters", "words")
    }
    writes = await bundle.reconcile()
    assert [(verb, kind) for verb, kind, _ in writes] == [("apply", "ConfigMap")] * 2
    assert writes[1][2] == POINTER, "nobody is pointed to a version that is not there yet"
    assert bundle.current() == dags


async def test_the_same_set_of_dags_is_not_written_again(bundle: Bundle) -> None:
    bundle.look_at(bundle.pipeline("digits"))
    await bundle.reconcile()
    assert await bundle.reconcile() == []


async def test_going_back_to_an_earlier_set_only_moves_the_pointer(bundle: Bundle) -> None:
    for epochs in (3, 4):
        bundle.look_at(bundle.pipeline("digits", epochs=epochs))
        await bundle.reconcile()
    bundle.look_at(bundle.pipeline("digits", epochs=3))
    assert await bundle.reconcile() == [("apply", "ConfigMap", POINTER)]


async def test_after_a_restart_nothing_is_written_before_every_pipeline_was_looked_at(bundle: Bundle) -> None:
    digits, letters = bundle.pipeline("digits"), bundle.pipeline("letters")
    bundle.look_at(digits)
    bundle.look_at(letters)
    await bundle.reconcile()
    before = bundle.current()
    bundle.context.pipelines.clear()
    bundle.look_at(digits)
    assert await bundle.reconcile() == []
    bundle.look_at(letters)
    assert await bundle.reconcile() == []
    assert bundle.current() == before


async def test_a_pipeline_that_is_not_valid_any_more_keeps_the_dag_that_it_had(bundle: Bundle) -> None:
    digits = bundle.look_at(bundle.pipeline("digits"))
    bundle.look_at(bundle.pipeline("letters"))
    await bundle.reconcile()
    bundle.context.pipelines["research", "digits"] = None
    letters = bundle.look_at(bundle.pipeline("letters", epochs=9))
    await bundle.reconcile()
    assert bundle.current() == {names.dag_path("digits"): digits, names.dag_path("letters"): letters}


async def test_a_pipeline_that_never_was_valid_has_no_dag(bundle: Bundle) -> None:
    bundle.pipeline("digits")
    bundle.context.pipelines["research", "digits"] = None
    await bundle.reconcile()
    assert bundle.current() == {}


async def test_the_dag_of_a_deleted_pipeline_goes_from_the_bundle(bundle: Bundle) -> None:
    digits = bundle.pipeline("digits")
    bundle.look_at(digits)
    letters = bundle.look_at(bundle.pipeline("letters"))
    await bundle.reconcile()
    bundle.store.remove(digits)
    del bundle.context.pipelines["research", "digits"]
    await bundle.reconcile()
    assert bundle.current() == {names.dag_path("letters"): letters}


async def test_a_pipeline_of_another_airflow_is_not_in_the_bundle(bundle: Bundle) -> None:
    other = bundle.put(
        "MLPipeline", "words", spec={"training": {"dataset": "mnist"}, "airflow": {"name": "another"}}
    )
    bundle.look_at(other)
    await bundle.reconcile()
    assert bundle.current() == {}


async def test_old_versions_go_with_the_dags_that_only_they_had(bundle: Bundle) -> None:
    for epochs in range(1, 16):
        bundle.look_at(bundle.pipeline("digits", epochs=epochs))
        await bundle.reconcile()
        bundle.api.pass_time(hours=1)
    assert len(bundle.names("bundle-version")) == 10
    assert len(bundle.names("dag")) == 10
    assert bundle.current()[names.dag_path("digits")] in bundle.names("dag")


async def test_a_version_that_an_unfinished_run_may_use_is_kept(bundle: Bundle) -> None:
    bundle.look_at(bundle.pipeline("digits", epochs=1))
    await bundle.reconcile()
    first = bundle.names("bundle-version")
    bundle.api.pass_time(hours=1)
    run = bundle.put("MLPipelineRun", "digits-1", spec={"pipelineRef": {"name": "digits"}})
    for epochs in range(2, 16):
        bundle.api.pass_time(hours=1)
        bundle.look_at(bundle.pipeline("digits", epochs=epochs))
        await bundle.reconcile()
    assert first <= bundle.names("bundle-version")
    run["status"] = {"state": "Succeeded"}
    bundle.store.put(bundle.api.served(run))
    bundle.look_at(bundle.pipeline("digits", epochs=16))
    await bundle.reconcile()
    assert len(bundle.names("bundle-version")) == 10
    assert not first & bundle.names("bundle-version")


async def test_an_airflow_that_goes_gets_no_new_version(bundle: Bundle) -> None:
    bundle.look_at(bundle.pipeline("digits"))
    body = bundle.put("Airflow", "orchestra", spec={})
    body["metadata"]["deletionTimestamp"] = "2026-11-22T12:00:00Z"
    bundle.store.put(bundle.api.served(body))
    assert await bundle.reconcile() == []
