"""The base image where nothing can be pulled: Debian's own Python, by debootstrap."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from . import packages
from .errors import ClusterError
from .paths import cache_root
from .processes import run
from .progress import Progress

SUITE = "trixie"
PACKAGES = ("ca-certificates", "python3", "python3-venv")
REFERENCE = f"localhost/mlpipeline/base:{SUITE}-1"
"""Its number changes with what is in the image."""
PUBLIC = "docker.io/library/python:3.13-slim"


def mirror() -> str:
    """Return the Debian mirror that this machine's apt uses.

    Raises:
        ClusterError: if apt knows of none.
    """
    listed = run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Identifier: Packages", "Origin: Debian"]
    )
    uris = [uri.rstrip("/") for uri in dict.fromkeys(listed.split())]
    found = [uri for uri in uris if uri.endswith("/debian")] or [uri for uri in uris if "security" not in uri]
    if not found:
        raise ClusterError("apt knows of no Debian mirror (no lists yet? run: apt-get update)")
    return found[0]


def proxy_lines(dump: str) -> str:
    """Return the lines on proxies in the output of ``apt-config dump``."""
    return "".join(line + "\n" for line in dump.splitlines() if re.match(r"Acquire::https?::Proxy", line))


def build(buildah: list[str], progress: Progress) -> None:
    """Make the base image and store it as ``REFERENCE``."""
    packages.ensure({"debootstrap": "debootstrap"}, progress)
    log = cache_root() / "logs" / "debootstrap.log"
    with (
        progress.phase(f"Making the base image: Debian {SUITE} with Python (a minute, once)"),
        tempfile.TemporaryDirectory(dir=cache_root(), prefix=".base-") as scratch,
    ):
        root = Path(scratch) / "root"
        included = ",".join(PACKAGES)
        run(
            ["debootstrap", "--variant=minbase", f"--include={included}", SUITE, str(root), mirror()],
            log=log,
            what="debootstrap",
        )
        for archive in (root / "var/cache/apt/archives").glob("*.deb"):
            archive.unlink()
        proxies = proxy_lines(run(["apt-config", "dump"]))
        if proxies:
            (root / "etc/apt/apt.conf.d/80proxy").write_text(proxies)
        # What apt installs in a build starts no service.
        policy = root / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        container = run([*buildah, "from", "scratch"]).strip()
        try:
            run([*buildah, "add", "--quiet", container, str(root), "/"])
            run([*buildah, "config", "--cmd", "python3", "--env", "LANG=C.UTF-8", container])
            run([*buildah, "commit", "--quiet", container, REFERENCE])
        finally:
            run([*buildah, "rm", container])
