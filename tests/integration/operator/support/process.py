"""The operator as a process: ``python -m mlpipeline_operator run``, with the rights of its manifests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from tools.cluster.api import free_ports
from tools.cluster.paths import REPOSITORY

SYSTEM_NAMESPACE = "mlpipeline-system"


class Operator:
    """One replica; ``stop`` it in the end.

    Args:
        kubeconfig: Who it is.
        airflow_url: Where it finds Airflow (a template, see ``--airflow-url-template``).
        log: Where its output goes.
        flags: More of the command line.
        replica: Its name, as its pod's.
    """

    def __init__(
        self, kubeconfig: Path, airflow_url: str, log: Path, flags: Sequence[str] = (), replica: str = "one"
    ) -> None:
        (self.port,) = free_ports(1)
        self.log = log
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "PYTHONPATH": str(REPOSITORY / "operator"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "KUBECONFIG": str(kubeconfig),
            "POD_NAME": replica,
            "POD_NAMESPACE": SYSTEM_NAMESPACE,
            "MLP_AIRFLOW_IMAGE": "images.test/airflow:1",
            "MLP_TRAINER_IMAGE": "images.test/trainer:1",
            "MLP_POSTGRES_IMAGE": "images.test/postgres:1",
            "MLP_AIRFLOW_URL_TEMPLATE": airflow_url,
            "MLP_AIRFLOW_POLL_ACTIVE": "0.2",
            "MLP_AIRFLOW_POLL_IDLE": "1",
            "MLP_HTTP_PORT": str(self.port),
        }
        command = [sys.executable, "-m", "mlpipeline_operator", "run", *flags]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self.started = time.monotonic()

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_ready(self) -> bool:
        """Whether ``/readyz`` answers 200."""
        if self._process.poll() is not None:
            raise AssertionError(
                f"the operator ended with {self._process.returncode}:\n{self.text()[-4000:]}"
            )
        return self.get("readyz") is not None

    def get(self, path: str) -> str | None:
        """What it answers at ``path``; ``None`` if not with 200."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=5) as answer:
                text: str = answer.read().decode()
                return text
        except (urllib.error.URLError, OSError):
            return None

    def text(self) -> str:
        """Its output so far."""
        return self.log.read_text(errors="replace")

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it without a chance to tidy up."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """End it as the kubelet does, and return its exit status."""
        if self._process.poll() is None:
            self.thaw()
            self._process.terminate()
        try:
            return self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the operator did not end within 20 s:\n{self.text()[-4000:]}") from None

    def ended(self, seconds: float) -> int | None:
        """Its exit status, if it ends by itself within ``seconds``."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
