import importlib.metadata
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlpipeline_trainer import packages
from mlpipeline_trainer.errors import RequirementsError


@pytest.fixture(autouse=True)
def _index_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """pip finds what the test made, and asks nobody else."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PATH", os.environ["PATH"])
    monkeypatch.delenv("PYTHONPATH", raising=False)
    path = list(sys.path)
    yield
    sys.path[:] = path
    os.environ.pop("PYTHONPATH", None)


def wheel(folder: Path, name: str, needs: str = "") -> None:
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}.py", "value = 42\n")
        needed = f"Requires-Dist: {needs}\n" if needs else ""
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needed}")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")


def test_what_is_installed_can_be_imported_here_and_in_children(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel(tmp_path, "mlp_first", needs="mlp-second")
    wheel(tmp_path, "mlp_second")
    packages.install(["mlp-first>=1", "pytest"])
    import mlp_first  # type: ignore[import-not-found]

    assert mlp_first.value == 42
    child = [sys.executable, "-c", "import mlp_second; print(mlp_second.value)"]
    assert subprocess.run(child, check=True, capture_output=True, text=True).stdout == "42\n"
    printed = capsys.readouterr().err
    assert "pip: Requirement already satisfied: pytest" in printed
    assert "pip: Successfully installed mlp-first-1.0 mlp-second-1.0" in printed


def test_the_environment_itself_stays_as_it_is(tmp_path: Path) -> None:
    wheel(tmp_path, "mlp_third")
    packages.install(["mlp_third"])
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    child = [sys.executable, "-c", "import mlp_third"]
    assert subprocess.run(child, check=False, capture_output=True, env=clean).returncode == 1


@pytest.mark.parametrize(
    ("requirement", "words"),
    [
        ("mlp-nowhere", "No matching distribution found for mlp-nowhere"),
        ("pytest<1", r"(No matching distribution|ResolutionImpossible|Cannot install).*"),
        ("not a requirement", "Invalid requirement: 'not a requirement'"),
    ],
)
def test_what_cannot_be_installed_is_named_in_pips_words(requirement: str, words: str) -> None:
    with pytest.raises(RequirementsError, match=words):
        packages.install([requirement])


def test_a_version_beside_the_images_own_is_told_with_both() -> None:
    with pytest.raises(RequirementsError) as raised:
        packages.install(["pytest<1"])
    own = importlib.metadata.version("pytest")
    assert f"The user requested (constraint: the image holds it) pytest=={own}" in str(raised.value)


def test_an_index_that_cannot_be_reached_is_not_told_as_a_missing_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(RequirementsError, match=r"for mlp-nowhere; connection broken by .* refused"):
        packages.install(["mlp-nowhere"])


def test_nothing_asked_for_starts_no_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere")
    packages.install([])
