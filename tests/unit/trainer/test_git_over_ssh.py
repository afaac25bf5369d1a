"""Code from a repository that is reached by a real SSH client, at a server that knows one key."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import pytest

from mlpipeline_trainer import source
from mlpipeline_trainer.errors import SourceError
from mlpipeline_trainer.settings import Git
from tests.unit.trainer.test_source import _elsewhere, repository

__all__ = ["_elsewhere", "repository"]

pytestmark = pytest.mark.skipif(shutil.which("ssh") is None, reason="needs OpenSSH's client")


@dataclass(frozen=True)
class Server:
    """Where it listens, who it is, and the one key that it lets in."""

    port: int
    host_key: asyncssh.SSHKey
    key: asyncssh.SSHKey

    def url(self, repository: Path) -> str:
        return f"ssh://reader@127.0.0.1:{self.port}{repository}"

    def known_hosts(self) -> str:
        return f"[127.0.0.1]:{self.port} {self.host_key.export_public_key().decode()}"


async def _serve_git(process: asyncssh.SSHServerProcess[bytes]) -> None:
    program, *arguments = shlex.split(process.command or "")
    assert program == "git-upload-pack", process.command
    git = await asyncio.create_subprocess_exec(
        program, *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert git.stdin is not None
    assert git.stdout is not None
    asking = asyncio.create_task(_ask(process, git.stdin))
    while answer := await git.stdout.read(65536):
        process.stdout.write(answer)
        await process.stdout.drain()
    asking.cancel()
    process.exit(await git.wait())


async def _ask(process: asyncssh.SSHServerProcess[bytes], git: asyncio.StreamWriter) -> None:
    while question := await process.stdin.read(65536):
        git.write(question)
        await git.drain()
    git.close()


@pytest.fixture
def server() -> Iterator[Server]:
    host_key, key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[host_key],
            authorized_client_keys=asyncssh.import_authorized_keys(key.export_public_key().decode()),
            process_factory=_serve_git,
            encoding=None,
        )

    async def stop() -> None:
        acceptor.close()
        await acceptor.wait_closed()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    acceptor = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    yield Server(acceptor.get_port(), host_key, key)
    asyncio.run_coroutine_threadsafe(stop(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(30)
    loop.close()


def secret(folder: Path, key: asyncssh.SSHKey, known_hosts: str = "") -> Path:
    """As the kubelet mounts it; a key without its last newline is a usual mistake."""
    folder.mkdir()
    (folder / "ssh-privatekey").write_bytes(key.export_private_key().rstrip())
    if known_hosts:
        (folder / "known_hosts").write_text(known_hosts)
    return folder


@pytest.mark.parametrize("knows_host", [True, False], ids=["a known host", "a host seen first"])
def test_a_key_of_the_secret_opens_the_repository(
    server: Server, repository: Path, tmp_path: Path, knows_host: bool
) -> None:
    credentials = secret(tmp_path / "secret", server.key, server.known_hosts() if knows_host else "")
    source.fetch(Git(server.url(repository), "v2", "src", credentials), tmp_path / "pins")
    assert Path("train.py").read_text() == "number = 2\n"


def test_a_key_that_the_server_does_not_know_is_told(
    server: Server, repository: Path, tmp_path: Path
) -> None:
    credentials = secret(tmp_path / "secret", asyncssh.generate_private_key("ssh-ed25519"))
    with pytest.raises(SourceError, match="Permission denied"):
        source.fetch(Git(server.url(repository), None, None, credentials), tmp_path / "pins")


def test_a_server_that_is_not_the_known_one_is_not_trusted(
    server: Server, repository: Path, tmp_path: Path
) -> None:
    other = Server(server.port, asyncssh.generate_private_key("ssh-ed25519"), server.key)
    credentials = secret(tmp_path / "secret", server.key, other.known_hosts())
    with pytest.raises(SourceError, match="Host key verification failed"):
        source.fetch(Git(server.url(repository), None, None, credentials), tmp_path / "pins")
