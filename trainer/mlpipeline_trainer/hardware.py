"""The machine as the container sees it: its share of the CPUs, its GPUs."""

from __future__ import annotations

import math
import os
from collections.abc import MutableMapping
from pathlib import Path

from .errors import NoGPUError

CGROUP = Path("/sys/fs/cgroup")
_THREAD_VARIABLES = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


def cpu_limit(cgroup: Path = CGROUP) -> float | None:
    """CPUs that the container may use, by its cgroup (version 2, else 1); `None` if there is no limit."""
    try:
        try:
            quota, period = (cgroup / "cpu.max").read_text().split()
        except FileNotFoundError:
            folder = cgroup / "cpu"
            quota, period = ((folder / f"cpu.cfs_{n}_us").read_text().strip() for n in ("quota", "period"))
        return None if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def prepare_environment(environ: MutableMapping[str, str], expect_gpu: bool, cgroup: Path = CGROUP) -> None:
    """Defaults for TensorFlow, to be set before it is imported; what the user has set stays.

    TensorFlow starts a thread for each CPU of the node; under a smaller limit they only throttle each other.
    """
    environ.setdefault("KERAS_BACKEND", "tensorflow")
    # 1 hides informational messages, 2 also warnings; with a GPU, warnings say why one could not be used.
    environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1" if expect_gpu else "2")
    limit = cpu_limit(cgroup)
    if limit is not None and limit < (os.cpu_count() or 1):
        for name in _THREAD_VARIABLES:
            environ.setdefault(name, str(max(1, math.ceil(limit))))


def require_gpu() -> None:
    """Imports TensorFlow.

    Raises:
        NoGPUError: It sees no GPU; says what it sees, and whether it was built for one.
    """
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return
    devices = ", ".join(d.name for d in tf.config.list_physical_devices()) or "nothing"
    built = "with" if tf.test.is_built_with_cuda() else "without"
    raise NoGPUError(
        f"a GPU was asked for (MLP_EXPECT_GPU=1), but TensorFlow {tf.__version__}, built {built} CUDA"
        f" support, sees only {devices}; use the GPU image, and a node whose driver works"
    )
