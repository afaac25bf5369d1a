"""Virtual environments from hashed requirements, made again only when the requirements change.

Run ``python3 -m tools.venv requirements/dev.txt .venv`` for the development environment. With
``--cached NAME`` instead of a path the environment lies in the user's cache, one per content of the
requirements, and its path is printed. Only the standard library is needed.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools.cluster.paths import cache_root
from tools.cluster.progress import Progress

_STAMP = ".requirements"
_OLDEST = (3, 11)
_BOOTSTRAP = Path("requirements/bootstrap.txt")


class VenvError(Exception):
    """The environment cannot be made; the message says why and what to do."""


def fingerprint(requirements: Path, python: Path) -> str:
    """Return 16 hex digits that change with the requirements' content or the interpreter."""
    digest = hashlib.sha256(requirements.read_bytes())
    digest.update(f"{python.resolve()} {sys.version_info[:3]}".encode())
    return digest.hexdigest()[:16]


def ensure(requirements: Path, target: Path, wanted: str) -> None:
    """Make ``target`` an environment that holds exactly ``requirements``, unless its stamp says it is.

    Args:
        requirements: A compiled requirements file, every line with its hashes.
        target: Folder of the environment; replaced when it is another one.
        wanted: The fingerprint that the finished environment is stamped with.

    Raises:
        VenvError: Python has no ``venv``, or the installation failed.
    """
    cache_root().mkdir(parents=True, exist_ok=True)
    # Two makes at once (a test beside a demo) must not build the same folder.
    with (cache_root() / ".venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = target / _STAMP
        if stamp.exists() and stamp.read_text() == wanted:
            return
        _ensure_venv_module()
        progress = Progress("venv")
        with progress.phase(f"install {requirements} into {target}"):
            _run([sys.executable, "-m", "venv", "--clear", str(target)])
            pip = [str(target / "bin/python"), "-m", "pip", "--disable-pip-version-check"]
            environment = {**os.environ, "UV_SYSTEM_CERTS": "1", **_index(pip)}
            _run([*pip, "install", "--quiet", "--require-hashes", "-r", str(_BOOTSTRAP)])
            uv = [str(target / "bin/uv"), "pip", "install", "--quiet", "--compile-bytecode"]
            uv += ["--python", str(target / "bin/python"), "--require-hashes", "-r", str(requirements)]
            _run(uv, environment)
        stamp.write_text(wanted)


def _index(pip: list[str]) -> dict[str, str]:
    """Give uv, which does not read pip's configuration, the package index that pip is configured for."""
    done = subprocess.run(
        [*pip, "config", "get", "global.index-url"], capture_output=True, text=True, check=False
    )
    index = done.stdout.strip()
    return {"UV_DEFAULT_INDEX": index} if done.returncode == 0 and index else {}


def _ensure_venv_module() -> None:
    """Install Debian's python3-venv where Python came without it."""
    probe = [sys.executable, "-c", "import ensurepip, venv"]
    if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
        return
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise VenvError(f"this Python has no venv module (Debian: apt-get install {package})")
    with Progress("venv").phase(f"apt-get install {package}"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        _run(["apt-get", "update", "-q"], environment)
        _run(["apt-get", "install", "-q", "-y", "--no-install-recommends", package], environment)


def _run(command: list[str], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise VenvError(f"{' '.join(command)} ended with {done.returncode}:\n{tail}")


def main() -> int:
    """Make the environment that the command line asks for and print its path."""
    parser = argparse.ArgumentParser(prog="python3 -m tools.venv", description=__doc__)
    parser.add_argument("requirements", type=Path, help="compiled requirements with hashes")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("path", type=Path, nargs="?", help="folder of the environment")
    where.add_argument("--cached", metavar="NAME", help="keep it in the user's cache under this name")
    options = parser.parse_args()
    if sys.version_info < _OLDEST:
        print(f"Python {_OLDEST[0]}.{_OLDEST[1]} or newer is needed, not {sys.version}", file=sys.stderr)
        return 2
    try:
        wanted = fingerprint(options.requirements, Path(sys.executable))
        target = options.path or cache_root() / "venv" / f"{options.cached}-{wanted}"
        ensure(options.requirements, target, wanted)
    except (OSError, VenvError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run it again to go on", file=sys.stderr)
        return 130
    print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
