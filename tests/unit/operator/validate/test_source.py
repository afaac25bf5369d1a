from __future__ import annotations

from typing import Any

import pytest

from mlpipeline_operator.build.dag import render_dag
from mlpipeline_operator.errors import SpecError
from mlpipeline_operator.validate import referenced_config_maps, validate_pipeline
from mlpipeline_operator.values import Code, GitCode, Images, PipelineValue, TrainingStep

IMAGES = Images(airflow="airflow:1", trainer="trainer:1", postgres="postgres:1")
GIT = {"url": "https://example.com/team/churn.git", "ref": "v1", "path": "src", "secretRef": {"name": "git"}}


def value(**training: Any) -> PipelineValue:
    metadata = {"name": "churn", "namespace": "team", "uid": "u-1"}
    return validate_pipeline({"metadata": metadata, "spec": {"training": training}}, IMAGES)


def step(**training: Any) -> TrainingStep:
    found = value(**training).steps[0]
    assert isinstance(found, TrainingStep)
    return found


def test_code_in_the_pipeline_runs_in_the_trainer_image() -> None:
    found = step(source={"inline": "print(1)"}, requirements=["pandas"])
    assert (found.image, found.entrypoint) == ("trainer:1", "train.py")
    assert found.code == Code(files={"train.py": "print(1)"})
    assert found.requirements == ("pandas",)


def test_a_function_is_looked_for_in_the_file_of_its_module() -> None:
    found = step(source={"inline": "def main(): pass", "entrypoint": "churn:main"})
    assert (found.entrypoint, found.code) == ("churn:main", Code(files={"churn.py": "def main(): pass"}))


def with_config_map(
    data: dict[str, str], entrypoint: str | None = None, image: str | None = None
) -> TrainingStep:
    source = {"configMapRef": {"name": "churn-code"}, "entrypoint": entrypoint}
    metadata = {"name": "churn", "namespace": "team", "uid": "u-1"}
    body = {"metadata": metadata, "spec": {"training": {"source": source, "image": image}}}
    assert referenced_config_maps(body) == {"churn-code"}
    found = validate_pipeline(body, IMAGES, {"churn-code": data}).steps[0]
    assert isinstance(found, TrainingStep)
    return found


def test_a_config_map_brings_all_its_files() -> None:
    files = {"train.py": "import load", "load.py": "X = 1", "labels.txt": "a"}
    found = with_config_map(files)
    assert (found.image, found.entrypoint, found.code) == ("trainer:1", "train.py", Code(files=files))
    assert with_config_map(files, "load:main").entrypoint == "load:main"


def test_the_same_code_is_the_same_workload_wherever_it_lies_and_a_change_is_another() -> None:
    def run_hash(source: dict[str, Any], config_maps: dict[str, dict[str, str]]) -> str:
        metadata = {"name": "churn", "namespace": "team", "uid": "u-1"}
        body = {"metadata": metadata, "spec": {"training": {"source": source}}}
        return validate_pipeline(body, IMAGES, config_maps).run_hash

    inline = run_hash({"inline": "print(1)"}, {})
    reference = {"configMapRef": {"name": "a"}}
    assert run_hash(reference, {"a": {"train.py": "print(1)"}}) == inline
    assert run_hash(reference, {"a": {"train.py": "print(2)"}}) != inline


def test_a_config_map_that_cannot_be_run_is_told() -> None:
    with pytest.raises(SpecError, match='there is no ConfigMap "churn-code": create it') as refused:
        value(source={"configMapRef": {"name": "churn-code"}})
    assert refused.value.reason == "ConfigMapNotFound"
    with pytest.raises(SpecError, match='"churn-code" has no `data`'):
        with_config_map({})
    with pytest.raises(SpecError, match=r'ConfigMap "churn-code" has no train.py; it has a.py, b.py'):
        with_config_map({"b.py": "", "a.py": ""})
    with pytest.raises(SpecError, match=r"configMapRef: 524300 bytes are more than 524288: use git"):
        with_config_map({"train.py": "x" * 524200, "b.py": "x" * 100})


@pytest.mark.parametrize(
    "spec", [None, "x", {"training": None}, {"training": {"source": {"configMapRef": 1}}}, {"dag": []}]
)
def test_what_refers_to_no_config_map_needs_none(spec: Any) -> None:
    assert referenced_config_maps({"spec": spec}) == frozenset()


def test_a_repository_is_passed_on() -> None:
    found = step(source={"git": GIT, "entrypoint": "churn.train:main"}, image="team/churn:1")
    assert found.code == Code(git=GitCode(GIT["url"], "v1", "src", "git"))  # type: ignore[arg-type]
    assert (found.image, found.entrypoint) == ("team/churn:1", "churn.train:main")


def test_a_change_of_code_or_requirements_is_another_workload_and_a_secret_is_not() -> None:
    least = {"source": {"inline": "print(1)"}}
    git = {"source": {"git": GIT}, "image": "team/churn:1"}
    hashes = [
        value(**least).run_hash,
        value(source={"inline": "print(2)"}).run_hash,
        value(**least, requirements=["pandas"]).run_hash,
        value(source={"inline": "print(1)", "entrypoint": "other.py"}).run_hash,
        value(**git).run_hash,
        value(source={"git": {**GIT, "ref": "v2"}}, image="team/churn:1").run_hash,
    ]
    assert len(set(hashes)) == len(hashes)
    other = {**GIT, "secretRef": {"name": "other"}}
    assert value(source={"git": other}, image="team/churn:1").run_hash == hashes[4]


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({"source": {}}, "name exactly one place of the code"),
        ({"source": {"inline": "a", "git": GIT}}, "name exactly one place of the code"),
        ({"source": {"inline": "a", "configMapRef": {"name": "b"}}}, "name exactly one place of the code"),
        ({"source": {"inline": "a"}, "dataset": "mnist"}, "exactly one of dataset, entrypoint and source"),
        ({"dataset": "mnist", "requirements": ["pandas"]}, "the built-in example needs none"),
        ({"source": {"inline": "a", "entrypoint": "src/train.py"}}, "'src/train.py' cannot be in it"),
        ({"source": {"inline": "a", "entrypoint": "a.b:c"}}, "'a.b:c' cannot be in it"),
        ({"source": {"inline": "😀" * 131073}}, "524292 bytes are more than 524288: use git"),
    ],
)
def test_what_cannot_be_run_is_refused(training: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        value(**training)


def test_the_dag_holds_the_code_as_a_literal() -> None:
    text = 'print("""a""", \'b\', "\\n")\n# </pipeline>\n'
    rendered = render_dag(value(source={"inline": text}, requirements=["pandas>=2"])).text
    names: dict[str, Any] = {}
    block = rendered.partition("# <pipeline>\n")[2].rpartition("TAGS = ")[0]
    exec(block, names)
    (found,) = names["STEPS"]
    assert found["code"] == {"train.py": text}
    assert found["environment"]["MLP_REQUIREMENTS"] == '["pandas>=2"]'
    compile(rendered, "dag.py", "exec")


def test_a_repositorys_secret_is_mounted_and_may_be_missing() -> None:
    rendered = render_dag(value(source={"git": GIT}, image="team/churn:1")).text
    names: dict[str, Any] = {}
    exec(rendered.partition("# <pipeline>\n")[2].partition("# </pipeline>\n")[0], names)
    (found,) = names["STEPS"]
    assert found["environment"]["MLP_GIT_CREDENTIALS"] == "/mlp/git"
    assert found["environment"]["MLP_GIT_REF"] == "v1"
    spec = found["worker"]["spec"]
    assert {"name": "git", "secret": {"secretName": "git", "optional": True}} in spec["volumes"]
    assert spec["containers"][0]["volumeMounts"][-1]["mountPath"] == "/mlp/git"
