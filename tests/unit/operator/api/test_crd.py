from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from mlpipeline_operator import kinds, names
from mlpipeline_operator.api import crd, states
from mlpipeline_operator.api.base import Definition
from mlpipeline_operator.api.schema import structural

CRDS = Path(__file__).parents[4] / "crds"
WHERE_OPEN = {"spec.parameters.*", "spec.config.*.*"}

each_kind = pytest.mark.parametrize("definition", crd.DEFINITIONS, ids=lambda each: each.kind)


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}".removeprefix("."))
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{path}.*")


def is_field(path: str) -> bool:
    """Whether the path ends in a name; a list's items and a map's values need no description."""
    return not path.endswith(("[]", "*")) and not path.startswith("metadata")


def version(definition: Definition) -> dict[str, Any]:
    found: dict[str, Any] = crd.manifest(definition)["spec"]["versions"][0]
    return found


def test_the_committed_files_are_what_the_models_say() -> None:
    assert crd.drift(CRDS) == [], "run `python -m mlpipeline_operator.api.crd --out crds`"


def test_the_check_fails_on_an_edited_a_missing_and_a_stray_file_and_writing_mends_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "crds")]
    assert crd.main(out) == 0
    assert crd.main([*out, "--check"]) == 0
    (tmp_path / "crds" / "airflows.yaml").write_text("kind: Something\n")
    (tmp_path / "crds" / "mlpipelines.yaml").unlink()
    (tmp_path / "crds" / "old.yaml").write_text("kind: Old\n")
    assert crd.main([*out, "--check"]) == 1
    assert "airflows.yaml, mlpipelines.yaml, old.yaml" in capsys.readouterr().err
    assert crd.main(out) == 0
    assert crd.main([*out, "--check"]) == 0
    assert not (tmp_path / "crds" / "old.yaml").exists()


def test_the_text_is_the_same_every_time_and_reads_back_as_the_manifest() -> None:
    texts = crd.files()
    assert texts == crd.files()
    for definition in crd.DEFINITIONS:
        assert yaml.safe_load(texts[f"{definition.plural}.yaml"]) == crd.manifest(definition)


@each_kind
def test_every_field_has_a_description(definition: Definition) -> None:
    schema = structural(definition.model)
    without = [path for path, node in nodes(schema) if is_field(path) and not node.get("description")]
    assert without == []


@each_kind
def test_every_enum_explains_each_of_its_values(definition: Definition) -> None:
    for path, node in nodes(structural(definition.model)):
        for value in node.get("enum", ()):
            # The condition's status and the short copy of a run's state are explained where they are at home.
            if path.endswith(("conditions[].status", "lastRun.state", "accessModes[]")):
                continue
            assert f"- {value}: " in node["description"], (path, value)


@each_kind
def test_names_on_the_wire_are_camel_case(definition: Definition) -> None:
    for path, node in nodes(structural(definition.model)):
        for name in node.get("properties", {}):
            assert name[0].islower(), path
            assert name.isalnum(), path


@each_kind
def test_the_schema_is_open_only_where_a_scalar_of_any_type_may_stand(definition: Definition) -> None:
    found = {
        path
        for path, node in nodes(structural(definition.model))
        if node.get("x-kubernetes-preserve-unknown-fields")
    }
    assert found <= WHERE_OPEN


@each_kind
def test_a_list_of_objects_is_a_map_by_key_so_that_server_side_apply_can_merge_it(
    definition: Definition,
) -> None:
    for path, node in nodes(structural(definition.model)):
        if node.get("items", {}).get("type") == "object":
            assert node["x-kubernetes-list-type"] == "map", path
            keys = node["x-kubernetes-list-map-keys"]
            assert set(keys) <= set(node["items"]["required"]), path


@each_kind
def test_columns_show_fields_that_exist(definition: Definition) -> None:
    paths = {f".{path}" for path, _ in nodes(structural(definition.model))}
    for column in definition.columns:
        path = column.json_path.split("[", 1)[0]
        known = path in paths or path in (".metadata.creationTimestamp", ".spec.schedule")
        assert known, column.name


@each_kind
def test_a_kind_has_a_status_subresource_a_short_name_and_the_category(definition: Definition) -> None:
    manifest = crd.manifest(definition)
    assert manifest["spec"]["names"]["categories"] == ["mlops"]
    assert manifest["spec"]["names"]["shortNames"] == [definition.short]
    assert manifest["spec"]["scope"] == "Namespaced"
    assert version(definition)["subresources"] == {"status": {}}


def test_the_columns_of_a_pipeline_are_those_of_the_design() -> None:
    pipeline = crd.DEFINITIONS[0]
    shown = [column.name.upper() for column in pipeline.columns if not column.wide]
    assert shown == ["READY", "STATUS", "PROGRESS", "METRIC", "LAST RUN", "SCHEDULE", "AGE"]


@each_kind
def test_the_operator_asks_the_api_server_for_the_plural_that_the_crd_defines(definition: Definition) -> None:
    kind = kinds.KINDS[definition.kind]
    assert (kind.group, kind.version, kind.plural) == (names.GROUP, names.VERSION, definition.plural)


def test_a_pipeline_shows_every_state_that_its_run_may_have() -> None:
    assert set(get_args(states.RunState)) < set(get_args(states.PipelineState))


@each_kind
def test_the_api_server_writes_no_defaults_into_users_objects(definition: Definition) -> None:
    assert all("default" not in node for _, node in nodes(structural(definition.model)))
