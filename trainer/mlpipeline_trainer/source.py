"""The user's code where it is not in the image: a folder that is mounted, or a repository that is fetched."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

from .errors import SourceError
from .log import say
from .settings import Git

# Another attempt of the run fetches the commit that the first one found, wherever a branch is by then.
_PIN = ".mlp-commit"
_TIMEOUT_SECONDS = 900
_ADVICE = ("fatal: Could not read from", "Please make sure you have", "and the repository exists")
# How Git's words begin, and what it cannot know: where this training has its credentials from.
_HINTS = {
    "fatal: could not read Username": (
        "; the repository asks for a login (or is not there):"
        " name a Secret with username and password in source.git.secretRef"
    ),
    "fatal: Authentication failed": "; it does not take the username and password of the Secret",
}
_ASKPASS = """#!/bin/sh
case "$1" in
Username*) cat "$MLP_GIT_CREDENTIALS/username" ;;
*) cat "$MLP_GIT_CREDENTIALS/password" ;;
esac
"""


def fetch(source: Path | Git, pins: Path, *, again: bool = False) -> str | None:
    """Brings the code into a folder of its own and makes that the working directory.

    Args:
        source: A folder (a mounted ConfigMap is copied without its links), or a repository.
        pins: Folder in which the commit is kept for another attempt.
        again: Whether this is another attempt. What a first one finds there is that of a run of the same name
            that was deleted: the folder outlives it.

    Returns:
        The commit, where it came from Git.

    Raises:
        SourceError: There is no such folder, repository, ref or path; the message is Git's own last line.
    """
    work = Path(tempfile.mkdtemp(prefix="code-"))
    if isinstance(source, Path):
        if not source.is_dir():
            raise SourceError(f"there is no folder {source} with the code")
        # A mounted ConfigMap holds its files behind links whose names begin with two dots.
        shutil.copytree(source, work, dirs_exist_ok=True, ignore=shutil.ignore_patterns("..*"))
        os.chdir(work)
        return None
    if not again:
        forget(pins)
    commit = _fetch_git(source, work, pins / _PIN)
    folder = work / (source.path or ".")
    if not folder.is_dir():
        raise SourceError(f"{source.url} has no folder {source.path!r} at {commit[:12]}")
    os.chdir(folder)
    say(f"code: {source.url} at {commit}")
    return commit


def forget(pins: Path) -> None:
    """Removes what only another attempt would have needed."""
    (pins / _PIN).unlink(missing_ok=True)


def _fetch_git(source: Git, work: Path, pin: Path) -> str:
    wanted = pin.read_text().strip() if pin.is_file() else source.ref or "HEAD"
    with tempfile.TemporaryDirectory(prefix="git-") as scratch:
        environ = _environment(source, Path(scratch))
        _git(["init", "--quiet", str(work)], environ)
        here = ["-C", str(work)]
        _git([*here, "remote", "add", "origin", source.url], environ)
        fetch = [*here, "fetch", "--quiet", "--no-tags"]
        try:
            _git([*fetch, "--depth=1", "origin", wanted], environ)
            target = "FETCH_HEAD"
        except SourceError as refused:
            if not _may_be_commit(wanted):
                raise
            # A server may refuse single commits, and none finds a shortened one.
            _git([*here, "fetch", "--quiet", "--tags", "origin", "+refs/*:refs/remotes/*"], environ)
            target = wanted
            if (
                _git(
                    [*here, "rev-parse", "--verify", "--quiet", f"{target}^{{commit}}"], environ, check=False
                )
                == ""
            ):
                raise refused from None
        _git([*here, "checkout", "--quiet", "--detach", target], environ)
        commit = _git([*here, "rev-parse", "HEAD"], environ).strip()
    pin.parent.mkdir(parents=True, exist_ok=True)
    pin.write_text(commit)
    return commit


def _may_be_commit(ref: str) -> bool:
    return 4 <= len(ref) <= 64 and all(each in "0123456789abcdef" for each in ref.lower())


def _environment(source: Git, scratch: Path) -> dict[str, str]:
    """Git's environment: no questions, nobody else's settings; and credentials, which no command shows."""
    environ = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
    folder = source.credentials
    if folder is None:
        return environ
    key, login = folder / "ssh-privatekey", [folder / "username", folder / "password"]
    if key.is_file():
        copy = scratch / "key"
        copy.touch(mode=0o600)
        copy.write_bytes(key.read_bytes().rstrip() + b"\n")
        known = folder / "known_hosts"
        hosts = (
            f"-o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes"
            if known.is_file()
            else f"-o UserKnownHostsFile={scratch}/known_hosts -o StrictHostKeyChecking=accept-new"
        )
        environ["GIT_SSH_COMMAND"] = f"ssh -i {copy} -o IdentitiesOnly=yes -o BatchMode=yes {hosts}"
    elif all(each.is_file() for each in login):
        askpass = scratch / "askpass"
        askpass.write_text(_ASKPASS)
        askpass.chmod(stat.S_IRWXU)
        environ |= {"GIT_ASKPASS": str(askpass), "MLP_GIT_CREDENTIALS": str(folder)}
    else:
        raise SourceError(
            "the Secret of the Git repository is not there, or has neither username and password nor"
            " ssh-privatekey"
        )
    return environ


def _git(arguments: list[str], environ: dict[str, str], check: bool = True) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments],
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise SourceError("the image has no git: build it FROM the trainer image") from None
    except subprocess.TimeoutExpired:
        raise SourceError(f"git did not end within {_TIMEOUT_SECONDS} s") from None
    if done.returncode and check:
        for line in done.stderr.splitlines():
            say(f"git: {line}")
        cause = _cause(done.stderr) or f"ended with {done.returncode}"
        hint = next((words for start, words in _HINTS.items() if cause.startswith(start)), "")
        raise SourceError(f"git: {cause}{hint}")
    return done.stdout


def _cause(stderr: str) -> str:
    """The line that tells why: of a broken connection, the last fatal one, else the last; no advice."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(_ADVICE)]
    # Fatal is then only what Git waited for meanwhile ("expected 'packfile'").
    broken = [line for line in telling if line.startswith("error: RPC failed")]
    fatal = [line for line in telling if line.startswith(("fatal:", "error:"))]
    return (broken or fatal or telling or lines or [""])[-1]
