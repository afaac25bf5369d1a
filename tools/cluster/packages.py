"""Debian packages: what is missing is installed, or named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from .errors import ClusterError
from .paths import cache_root
from .processes import run
from .progress import Progress

# Services that Debian starts when the package is installed. The cluster runs its own.
_SERVICES = {"containerd": "containerd.service"}
_SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def which(program: str) -> str | None:
    """Return the path of a program (absolute paths are tested as they are), also in the sbin folders."""
    return shutil.which(program, path=_SEARCH)


def ensure(packages: dict[str, str], progress: Progress) -> None:
    """Install the Debian packages whose program is missing.

    Args:
        packages: a program (a name, or an absolute path) for each package.
        progress: shows the installation.

    Raises:
        ClusterError: where they cannot be installed; the message names the packages.
    """
    missing = [package for package, program in packages.items() if which(program) is None]
    if missing:
        install(missing, progress)


def install(packages: Iterable[str], progress: Progress) -> None:
    """Install Debian packages, without starting any service."""
    names = sorted(packages)
    wanted = " ".join(names)
    if which("apt-get") is None:
        raise ClusterError(f"these programs are missing, install them (Debian's names): {wanted}")
    if os.geteuid() != 0:
        raise ClusterError(f"these packages are missing; as root: apt-get install {wanted}")
    log = cache_root() / "logs" / "apt.log"
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    services = [_SERVICES[name] for name in names if name in _SERVICES] if _systemd() else []
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *names]
    with progress.phase(f"Installing Debian packages: {wanted}"):
        for service in services:
            run(["systemctl", "mask", "--runtime", "--now", service], log=log, env=env)
        try:
            try:
                run(command, log=log, env=env)
            except ClusterError:
                run(["apt-get", "update", "-q"], log=log, env=env)
                run(command, log=log, env=env)
        finally:
            for service in services:
                run(["systemctl", "unmask", "--runtime", service], log=log, env=env)
                run(["systemctl", "disable", service], log=log, env=env)


def venv(package: str, version: str, progress: Progress) -> Path:
    """Return a virtual environment in the cache that holds a PyPI package, made if it is not there."""
    folder = cache_root() / f"{package}-{version}"
    if (folder / "complete").exists():
        return folder
    if subprocess.run([sys.executable, "-c", "import ensurepip"], capture_output=True).returncode:
        install([f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"], progress)
    log = cache_root() / "logs" / f"{package}.log"
    with progress.phase(f"Installing {package} {version} from PyPI"):
        run([sys.executable, "-m", "venv", "--clear", str(folder)], log=log, what="python3 -m venv")
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", f"{package}=={version}"]
        run(pip, log=log, what=f"pip install {package}")
        (folder / "complete").touch()
    return folder


def _systemd() -> bool:
    return Path("/run/systemd/system").is_dir()
