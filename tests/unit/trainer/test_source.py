import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mlpipeline_trainer import cli, source
from mlpipeline_trainer.errors import SourceError
from mlpipeline_trainer.settings import Git


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    for name in [n for n in os.environ if n.startswith("MLP_")]:
        monkeypatch.delenv(name)
    path, environ = list(sys.path), dict(os.environ)
    yield
    sys.path[:] = path
    os.environ.clear()
    os.environ.update(environ)


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "init.defaultBranch=main"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "src").mkdir(parents=True)
    git(folder, "init", "--quiet")
    for number in (1, 2, 3):
        (folder / "src" / "train.py").write_text(f"number = {number}\n")
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "-m", f"commit {number}")
        git(folder, "tag", "-a", f"v{number}", "-m", "a tag with a message")
    git(folder, "branch", "side", "v1")
    return folder


def fetched(repository: Path, ref: str | None, pins: Path, again: bool = False) -> tuple[str | None, str]:
    commit = source.fetch(Git(f"file://{repository}", ref, "src", None), pins, again=again)
    return commit, Path("train.py").read_text().split()[-1]


@pytest.mark.parametrize(
    ("ref", "number"), [(None, "3"), ("main", "3"), ("side", "1"), ("v2", "2"), ("refs/tags/v1", "1")]
)
def test_a_branch_or_tag_or_nothing_names_what_is_fetched(
    repository: Path, tmp_path: Path, ref: str | None, number: str
) -> None:
    commit, found = fetched(repository, ref, tmp_path / "pins")
    assert found == number
    assert commit == git(repository, "rev-parse", f"v{number}^{{commit}}")


@pytest.mark.parametrize("length", [40, 8])
def test_a_commit_may_be_shortened(repository: Path, tmp_path: Path, length: int) -> None:
    commit = git(repository, "rev-parse", "v2^{commit}")
    assert fetched(repository, commit[:length], tmp_path / "pins") == (commit, "2")


def test_another_attempt_gets_the_commit_of_the_first_one(repository: Path, tmp_path: Path) -> None:
    first = fetched(repository, "side", tmp_path / "pins")
    git(repository, "branch", "--force", "side", "v3")
    assert fetched(repository, "side", tmp_path / "pins", again=True) == first
    source.forget(tmp_path / "pins")
    assert fetched(repository, "side", tmp_path / "pins", again=True)[1] == "3"


def test_a_run_does_not_begin_with_the_commit_of_a_deleted_one_of_its_name(
    repository: Path, tmp_path: Path
) -> None:
    fetched(repository, "side", tmp_path / "pins")
    git(repository, "branch", "--force", "side", "v3")
    assert fetched(repository, "side", tmp_path / "pins")[1] == "3"
    fetched(repository, "v1", tmp_path / "pins")
    with pytest.raises(SourceError):
        fetched(repository, "nope", tmp_path / "pins")
    assert fetched(repository, "v2", tmp_path / "pins", again=True)[1] == "2", "nor does its second attempt"


@pytest.mark.parametrize(("attempt", "number"), [("1", "3"), ("2", "1")])
def test_the_attempt_tells_whether_the_commit_is_kept(
    repository: Path, tmp_path: Path, attempt: str, number: str
) -> None:
    fetched(repository, "side", tmp_path / "pins")
    git(repository, "branch", "--force", "side", "v3")
    result = run(
        MLP_GIT_URL=f"file://{repository}",
        MLP_GIT_REF="side",
        MLP_ENTRYPOINT="nope.py",
        MLP_CHECKPOINT_DIR=str(tmp_path / "pins"),
        MLP_ATTEMPT=attempt,
    )
    assert result["commit"] == git(repository, "rev-parse", f"v{number}^{{commit}}")


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("ref", "git: fatal: couldn't find remote ref nope"),
        ("commit", "git: fatal: couldn't find remote ref deadbeef"),
        ("path", "has no folder 'nope' at "),
        ("url", "does not appear to be a git repository"),
        ("host", "git: fatal: unable to "),
    ],
)
def test_what_is_not_there_is_named(repository: Path, tmp_path: Path, what: str, words: str) -> None:
    url = {"url": "file:///nowhere", "host": "git://127.0.0.1:1/x"}.get(what, f"file://{repository}")
    ref = {"ref": "nope", "commit": "deadbeef"}.get(what)
    with pytest.raises(SourceError) as raised:
        source.fetch(Git(url, ref, "nope" if what == "path" else None, None), tmp_path / "pins")
    assert words in str(raised.value)


def secret(folder: Path, **keys: str) -> Path:
    folder.mkdir()
    for name, value in keys.items():
        (folder / name).write_text(value)
    return folder


@pytest.mark.parametrize("keys", [{}, {"password": "p"}, {"username": "u"}])
def test_credentials_that_are_not_there_are_named(
    repository: Path, tmp_path: Path, keys: dict[str, str]
) -> None:
    credentials = secret(tmp_path / "secret", **keys)
    with pytest.raises(SourceError, match="has neither username and password nor ssh-privatekey"):
        source.fetch(Git(f"file://{repository}", None, None, credentials), tmp_path / "pins")


def test_a_connection_that_breaks_is_told_rather_than_what_git_waited_for() -> None:
    broken = "error: RPC failed; curl 52 Empty reply from server"
    assert source._cause(f"remote: hello\n{broken}\nfatal: expected 'packfile'\n") == broken


class Refuses(BaseHTTPRequestHandler):
    """A server that takes nobody's password."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="test"')
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def private(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/private.git"
        server.shutdown()


def test_a_private_repository_without_a_secret_says_what_to_name(private: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="name a Secret with username and password in"):
        source.fetch(Git(private, None, None, None), tmp_path / "pins")


def test_a_password_that_the_repository_does_not_take_is_told_and_not_shown(
    private: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    credentials = secret(tmp_path / "secret", username="reader", password="s3cret")
    with pytest.raises(SourceError) as raised:
        source.fetch(Git(private, None, None, credentials), tmp_path / "pins")
    assert f"Authentication failed for '{private}/'; it does not take the username and" in str(raised.value)
    assert "s3cret" not in str(raised.value) + "".join(capsys.readouterr())


def test_a_mounted_config_map_is_copied_without_its_links(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    (mount / "..2026").mkdir(parents=True)
    (mount / "..2026" / "train.py").write_text("a = 1")
    (mount / "..data").symlink_to("..2026")
    (mount / "train.py").symlink_to("..data/train.py")
    assert source.fetch(mount, tmp_path / "pins") is None
    assert os.listdir() == ["train.py"]
    assert not Path("train.py").is_symlink()


def run(**environ: str) -> dict[str, object]:
    here = Path.cwd()
    os.environ.update(environ, MLP_TERMINATION_LOG="", MLP_RESULT_FILE=str(here / "result.json"))
    code = cli.main(["run"])
    result: dict[str, object] = json.loads((here / "result.json").read_text())
    assert code == (result.get("failure") or {"exitCode": 0})["exitCode"]  # type: ignore[index]
    return result


def test_code_that_cannot_be_fetched_is_the_failure_of_the_run(repository: Path) -> None:
    result = run(MLP_GIT_URL=f"file://{repository}", MLP_GIT_REF="nope", MLP_ENTRYPOINT="train.py")
    failure = result["failure"]
    assert failure == {
        "reason": "SourceError",
        "message": "git: fatal: couldn't find remote ref nope",
        "exitCode": 8,
        "retryable": True,
    }


def test_an_entrypoint_that_the_code_does_not_have_is_named(repository: Path) -> None:
    result = run(MLP_GIT_URL=f"file://{repository}", MLP_GIT_PATH="src", MLP_ENTRYPOINT="nope.py")
    assert "entrypoint nope.py: no such file" in result["failure"]["message"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"MLP_GIT_URL": "x", "MLP_SOURCE_DIR": "y", "MLP_ENTRYPOINT": "t.py"}, "both say where the code is"),
        ({"MLP_SOURCE_DIR": ".", "MLP_DATASET": "mnist"}, "say which by MLP_ENTRYPOINT"),
        ({"MLP_REQUIREMENTS": "pandas"}, "must be a JSON list of requirements"),
        ({"MLP_REQUIREMENTS": '["--pre"]'}, "is an option of pip's"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(environ: dict[str, str], words: str) -> None:
    failure = run(**environ)["failure"]
    assert failure["reason"] == "Usage"  # type: ignore[index]
    assert words in failure["message"]  # type: ignore[index]
