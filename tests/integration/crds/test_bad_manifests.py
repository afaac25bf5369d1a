"""What a user reads who applies something that cannot work: word for word, from a real API server.

Each file of ``bad_manifests/`` begins with the message that it must give. Where a file holds several objects,
all but the last are fine. What a CRD's schema cannot refuse is refused by ``validate``, whose message becomes
the resource's ``Stalled`` condition.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlpipeline_operator.errors import SpecError
from mlpipeline_operator.validate import validate_airflow, validate_pipeline, validate_run
from mlpipeline_operator.values import Images
from tools.demo.kube import Kube, KubeError

MANIFESTS = Path(__file__).parents[1] / "bad_manifests"
BY_API_SERVER = "# kubectl apply says:"
BY_OPERATOR = "# Its condition Stalled says:"

IMAGES = Images(airflow="airflow:1", trainer="trainer:1", postgres="postgres:1")
VALIDATORS: dict[str, Callable[[dict[str, Any]], object]] = {
    "MLPipeline": lambda body: validate_pipeline(body, IMAGES),
    "MLPipelineRun": validate_run,
    "Airflow": lambda body: validate_airflow(body, IMAGES),
}


@dataclass(frozen=True)
class BadManifest:
    """A file of ``bad_manifests/``: the objects before the bad one, the bad one, and what it leads to."""

    name: str
    before: tuple[dict[str, Any], ...]
    bad: dict[str, Any]
    told_by: str
    message: str


def read(path: Path) -> BadManifest:
    text = path.read_text()
    told_by, *rest = text.splitlines()
    message = []
    for line in rest:
        if not line.startswith("#"):
            break
        message.append(line.removeprefix("#").removeprefix("   "))
    *before, bad = yaml.safe_load_all(text)
    return BadManifest(path.stem, tuple(before), bad, told_by, "\n".join(message))


BAD = [read(path) for path in sorted(MANIFESTS.glob("*.yaml"))]


def told_by(whom: str, *, after_others: bool = False) -> pytest.MarkDecorator:
    cases = [case for case in BAD if case.told_by == whom and bool(case.before) is after_others]
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


def apply(kube: Kube, manifest: dict[str, Any], *how: str) -> str:
    """As a user does it: ``kubectl apply -f FILE``."""
    return kube.run("apply", "--filename=-", *how, stdin=yaml.safe_dump(manifest))


def check_refusal(kube: Kube, case: BadManifest, *how: str) -> None:
    with pytest.raises(KubeError) as refused:
        apply(kube, case.bad, *how)
    assert [line.rstrip() for line in str(refused.value).splitlines()] == case.message.splitlines()


@told_by(BY_API_SERVER)
def test_the_api_server_says_what_to_do(case: BadManifest, api_server: Kube) -> None:
    # A dry run, so that tests need no namespace of their own.
    check_refusal(api_server, case, "--dry-run=server")


@told_by(BY_API_SERVER, after_others=True)
def test_the_api_server_refuses_a_change(case: BadManifest, api_server: Kube, namespace: str) -> None:
    for manifest in case.before:
        apply(api_server, manifest, f"--namespace={namespace}")
    check_refusal(api_server, case, f"--namespace={namespace}")


@told_by(BY_OPERATOR)
def test_the_operator_says_what_to_do(case: BadManifest, api_server: Kube) -> None:
    stored = json.loads(apply(api_server, case.bad, "--dry-run=server", "--output=json"))
    with pytest.raises(SpecError) as refused:
        VALIDATORS[case.bad["kind"]](stored)
    assert refused.value.message == case.message


def test_every_file_says_who_refuses_it_and_in_which_words() -> None:
    assert len(BAD) >= 40
    for case in BAD:
        assert case.told_by in (BY_API_SERVER, BY_OPERATOR), case.name
        assert case.message, case.name
        assert case.told_by == BY_API_SERVER or not case.before, case.name
