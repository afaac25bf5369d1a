"""The DAG bundle that reads its files from ConfigMaps, as the operator writes them.

A pointer ConfigMap names the current version (``data.version``); a version is an immutable ConfigMap of that
name, which lists path -> ConfigMap and key. A refresh costs one GET of the pointer while nothing changes.

Airflow is told of it by ``[dag_processor] dag_bundle_config_list``::

    [{"name": "pipelines", "classpath": "mlpipeline_dags.bundle.ConfigMapDagBundle",
      "kwargs": {"pointer": "airflow-default-dags", "refresh_interval": 1}}]
"""

from __future__ import annotations

import importlib
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.base import BaseDagBundle, BundleVersion

from mlpipeline_dags import tagging
from mlpipeline_dags.checkout import State, check_out, read_manifest, synchronise
from mlpipeline_dags.kube import Cluster, KubernetesError

log = logging.getLogger(__name__)

# Set by the worker's entry: the one folder of the bundle that its task needs.
FOLDER_VARIABLE = "MLP_BUNDLE_FOLDER"

# A file that changes while Airflow parses it would not be parsed again, since its time of change lies before
# the end of that parsing; so changed files are touched once more after this long.
SETTLE_SECONDS = 5.0

# What our DAGs import inside a function, which Airflow's own look ahead does not see: imported once in the
# dag-processor instead of in each of its parsing processes, where it would take a second.
PRELOADED = ("airflow.providers.cncf.kubernetes.pod_generator",)


class ConfigMapDagBundle(BaseDagBundle):
    """DAG files from ConfigMaps.

    The current version lives in one stable folder in which only changed files are replaced, because Airflow
    parses by path and time of change. A pinned version (a worker's, a callback's) gets a folder of its own.

    Args:
        pointer: Name of the ConfigMap whose ``data.version`` names the current version.
        namespace: Namespace of all these ConfigMaps; the pod's own by default.
        cluster: Reader of ConfigMaps; the pod's own cluster by default.
        kwargs: What every bundle takes: ``name``, ``refresh_interval`` (seconds), ``version``.
    """

    supports_versioning = True

    def __init__(
        self, *, pointer: str, namespace: str | None = None, cluster: Cluster | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._pointer = pointer
        self._namespace = namespace
        self._cluster = cluster or Cluster()
        self._state = State(self.base_dir / "current.json")
        self._current: str | None = None
        self._unsettled: dict[Path, float] = {}
        self._unreachable = False

    @property
    def path(self) -> Path:
        """The folder that holds this instance's files."""
        return self.versions_dir / self.version if self.version else self.base_dir / "current"

    def initialize(self) -> None:
        """Fetch the files.

        Raises:
            ManifestError: The pinned version is gone.
            KubernetesError: The API server could not be asked.
        """
        if self.version:
            folder = os.environ.get(FOLDER_VARIABLE)
            with self.lock():
                check_out(
                    self.path,
                    self.version,
                    self._read,
                    only=lambda path: not folder or path.startswith(f"{folder}/"),
                )
        else:
            for module in PRELOADED:
                importlib.import_module(module)
            tagging.register()
            self.refresh()
        super().initialize()

    def get_current_version(self) -> BundleVersion | None:
        """Return the version that ``path`` holds; None as long as there is none."""
        version = self.version or self._current
        return BundleVersion(version) if version else None

    def refresh(self) -> None:
        """Bring the current folder in line with the version that the pointer names.

        An API server that cannot be reached leaves the files as they are.

        Raises:
            ManifestError: The version is gone or invalid.
            KubernetesError: The API server refused, or could not be reached before anything was fetched.
        """
        if self.version:
            raise RuntimeError(
                f"version {self.version} of bundle {self.name} is pinned: it cannot be refreshed"
            )
        with self.lock():
            try:
                version = (self._read(self._pointer) or {}).get("version")
                if version != self._current or not self.path.is_dir():
                    self._switch(version)
            except KubernetesError as error:
                if error.status or self._current is None:
                    raise
                if not self._unreachable:
                    log.warning("Keeping the DAGs of version %s: %s", self._current, error)
                self._unreachable = True
                return
            self._unreachable = False
            self._settle()

    def _switch(self, version: str | None) -> None:
        _, known = self._state.load()
        wanted = read_manifest(version, self._read) if version else {}
        present = synchronise(self.path, wanted, known, self._read)
        self._state.save(version, present)
        if version != self._current:
            log.info("Bundle %s is at version %s: %d files", self.name, version, len(present))
        self._current = version
        due = time.monotonic() + SETTLE_SECONDS
        self._unsettled.update(
            {self.path / path: due for path, source in present.items() if known.get(path) != source}
        )

    def _settle(self) -> None:
        now = time.monotonic()
        for path in [path for path, due in self._unsettled.items() if due <= now]:
            del self._unsettled[path]
            if path.exists():
                os.utime(path)

    def _read(self, name: str) -> Mapping[str, str] | None:
        if self._namespace is None:
            self._namespace = self._cluster.namespace
        return self._cluster.config_map(self._namespace, name)
