"""Where the cluster's files lie: a cache that is shared, and one state folder per cluster."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from .errors import ClusterError

REPOSITORY = Path(__file__).resolve().parents[2]
DEFAULT_NAME = "mlpipeline"
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,28}[a-z0-9])?")


def _xdg(variable: str, fallback: str) -> Path:
    value = os.environ.get(variable, "")
    base = Path(value) if os.path.isabs(value) else Path.home() / fallback
    return base / "mlpipeline"


def cache_root() -> Path:
    """Return the folder for what may be kept between clusters and made again: binaries, images, data."""
    return _xdg("XDG_CACHE_HOME", ".cache")


def state_root() -> Path:
    """Return the folder that holds one folder per cluster."""
    return _xdg("XDG_STATE_HOME", ".local/state")


@dataclass(frozen=True)
class Layout:
    """The files of the cluster called ``name``; all of them go with the cluster."""

    name: str

    def __post_init__(self) -> None:
        """Refuse names that would not do as a host name, an interface or a folder."""
        if not _NAME.fullmatch(self.name):
            raise ClusterError(
                f"--name {self.name!r}: use a-z, 0-9 and '-', 30 at most, starting with a letter"
            )

    @property
    def root(self) -> Path:
        """The cluster's state folder."""
        return state_root() / self.name

    @property
    def lock(self) -> Path:
        """Held while a command changes the cluster; beside the folder, because ``down`` removes that."""
        return state_root() / f".{self.name}.lock"

    @property
    def record(self) -> Path:
        """What runs: driver and processes, as JSON."""
        return self.root / "cluster.json"

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of a cluster administrator."""
        return self.root / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, a JSON event per line."""
        return self.root / "audit" / "audit.log"

    @property
    def logs(self) -> Path:
        """One log per component."""
        return self.root / "logs"

    @property
    def pki(self) -> Path:
        """Certificates and keys, as kubeadm lays them out."""
        return self.root / "pki"

    @property
    def timings(self) -> Path:
        """Seconds per phase of each command that ran, as JSON."""
        return self.root / "timings.json"

    def log(self, component: str) -> Path:
        """Return the path of a component's log."""
        return self.logs / f"{component}.log"
