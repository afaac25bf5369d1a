"""Build images by Docker's engine, or by buildah where there is none."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from . import baseimage, kind, packages
from .errors import ClusterError
from .images import copied_stages, newest
from .paths import REPOSITORY, cache_root
from .processes import run
from .progress import Progress
from .record import take

# Settings of the host that a build takes over, by build arguments (which stay out of the images).
_SETTINGS = (
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX",
)  # fmt: skip
_CERTIFICATES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_BUNDLE_INSIDE = "/run/host-certificates/ca-certificates.crt"


class Builder(Protocol):
    """Builds images and keeps them in a store of its own."""

    def has(self, reference: str) -> bool:
        """Tell whether the store holds the image."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Let one command at a time build; a second one waits."""

    def prepare(self) -> None:
        """Do what a first build needs, with phases of its own."""

    def build(self, target: str, reference: str, log: Path) -> None:
        """Build a target of the Dockerfile and name it ``reference``."""

    def export(self, reference: str) -> list[str]:
        """Return the command that writes the image to its standard output, as ``docker save`` does."""

    def prune(self, target: str, keep: Iterable[str]) -> None:
        """Remove the target's images but those to ``keep``, and the layers that only they used."""


def choose(progress: Progress) -> Builder:
    """Return Docker where its engine works, else buildah.

    Raises:
        ClusterError: if there is neither and buildah cannot be installed.
    """
    if kind.engine_works():
        return Docker()
    if os.geteuid() != 0:
        raise ClusterError("images are built by Docker (whose engine does not answer), or as root by buildah")
    packages.ensure({"buildah": "buildah"}, progress)
    return Buildah(progress)


class Docker:
    """Docker's engine."""

    def has(self, reference: str) -> bool:
        """Tell whether the engine holds the image."""
        return bool(run(["docker", "image", "ls", "--quiet", reference]).strip())

    def exclusive(self) -> AbstractContextManager[None]:
        """Let any number of commands build: the engine sees to it."""
        return contextlib.nullcontext()

    def prepare(self) -> None:
        """Nothing is needed: the engine pulls the base image itself."""

    def build(self, target: str, reference: str, log: Path) -> None:
        """Build a target of the Dockerfile and name it ``reference``."""
        names = ["--tag", reference, "--tag", newest(target)]
        command = ["docker", "build", "--target", target, *names, *_arguments(settings()), str(REPOSITORY)]
        run(
            command,
            log=log,
            env={**os.environ, "DOCKER_BUILDKIT": "1"},
            what=f"docker build --target {target}",
        )

    def export(self, reference: str) -> list[str]:
        """Return the command that writes the image to its standard output."""
        return ["docker", "save", reference]

    def prune(self, target: str, keep: Iterable[str]) -> None:
        """Remove the target's images but those to ``keep``."""
        pattern = f"mlpipeline/{target}"
        listed = run(["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", pattern]).split()
        for old in set(listed) - {*keep, newest(target)}:
            run(["docker", "image", "rm", old])


class Buildah:
    """buildah, without a daemon, with a store in the cache of this package."""

    def __init__(self, progress: Progress) -> None:
        """Open the store."""
        self._progress = progress
        store = self._store = cache_root() / "buildah"
        run_root = store / "run"
        run_root.mkdir(parents=True, exist_ok=True)
        # buildah leaves mounts behind: in a namespace of its own they end with it.
        script = 'mount -t tmpfs tmpfs "$0" && exec buildah "$@"'
        self._command = ["unshare", "--mount", "sh", "-c", script, str(run_root)]
        self._command += ["--root", str(store / "storage"), "--runroot", str(run_root)]
        self._base = baseimage.PUBLIC
        self._base_choice = store / "base-image"

    def has(self, reference: str) -> bool:
        """Tell whether the store holds the image."""
        return reference in self._names()

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Let one command at a time build, and clear away the containers that builds leave."""
        with (self._store / ".build.lock").open("w") as file:
            take(file, self._progress, "Waiting for another command that builds images")
            run([*self._command, "rm", "--all"])
            try:
                yield
            finally:
                run([*self._command, "rm", "--all"])

    def prepare(self) -> None:
        """Get the base image."""
        self._base = self._find_base()

    def build(self, target: str, reference: str, log: Path) -> None:
        """Build a target of the Dockerfile and name it ``reference``."""
        # A stage that files are only copied from has no name of its own, and would be pruned with all
        # that was installed in it.
        for stage in copied_stages(target):
            self._bud(stage, [f"localhost/mlpipeline/stage-{stage}"], log)
        self._bud(target, [f"docker.io/{reference}", f"docker.io/{newest(target)}"], log)

    def _bud(self, target: str, names: list[str], log: Path) -> None:
        command = [*self._command, "bud", "--isolation", "chroot", "--layers", "--target", target]
        command += [word for name in names for word in ("--tag", name)]
        arguments = {**settings(), "BASE_IMAGE": self._base}
        bundle = certificates()
        if bundle:
            command += ["--volume", f"{bundle}:{_BUNDLE_INSIDE}:ro"]
            arguments |= {name: _BUNDLE_INSIDE for name in _CERTIFICATES}
            arguments |= {"UV_SYSTEM_CERTS": "1"}
        command += [*_arguments(arguments), "--file", str(REPOSITORY / "Dockerfile"), str(REPOSITORY)]
        run(command, log=log, what=f"buildah bud --target {target}")

    def export(self, reference: str) -> list[str]:
        """Return the command that writes the image to its standard output, as ``docker save`` does."""
        name = f"docker.io/{reference}"
        return [*self._command, "push", "--quiet", name, f"docker-archive:/dev/stdout:{name}"]

    def prune(self, target: str, keep: Iterable[str]) -> None:
        """Remove the target's images but those to ``keep``, and the layers that only they used."""
        ours = {name for name in self._names() if name.startswith(f"mlpipeline/{target}:")}
        old = ours - {*keep, newest(target)}
        if old:
            run([*self._command, "rmi", *(f"docker.io/{name}" for name in sorted(old))])
        run([*self._command, "rm", "--all"])
        run([*self._command, "rmi", "--prune"])

    def _names(self) -> list[str]:
        listed = run([*self._command, "images", "--format", "{{.Name}}:{{.Tag}}"]).split()
        return [name.removeprefix("docker.io/") for name in listed]

    def _find_base(self) -> str:
        """Return the base image: the public one where it can be pulled, else one of our own making."""
        names = self._names()
        if baseimage.REFERENCE in names:
            return baseimage.REFERENCE
        if self._base_choice.exists() and self._base_choice.read_text() == baseimage.PUBLIC:
            return baseimage.PUBLIC
        try:
            with self._progress.phase("Pulling the base image"):
                run(["timeout", "180", *self._command, "pull", "--quiet", baseimage.PUBLIC])
        except ClusterError:
            self._progress.note("  It cannot be pulled here: Debian's packages serve instead.")
            baseimage.build(self._command, self._progress)
            return baseimage.REFERENCE
        self._base_choice.write_text(baseimage.PUBLIC)
        return baseimage.PUBLIC


def settings() -> dict[str, str]:
    """Return the host's proxies and package indexes."""
    return {name: os.environ[name] for name in _SETTINGS if os.environ.get(name)}


def certificates() -> str | None:
    """Return the host's own bundle of certificates, where its environment names one."""
    for name in _CERTIFICATES:
        path = os.environ.get(name, "")
        if path and os.path.isfile(path):
            return os.path.realpath(path)
    return None


def _arguments(values: dict[str, str]) -> list[str]:
    return [word for name, value in sorted(values.items()) for word in ("--build-arg", f"{name}={value}")]
