"""Start a component of Airflow as soon as its database is set up.

Importing Airflow is most of a start, and needs no database: it is done while another pod still migrates. An
init container that waits would leave that to be done afterwards.

Usage: ``start.py COMPONENT``, an Airflow subcommand such as ``scheduler``.
"""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

# What each needs beyond its own command's module, which Airflow would import only when it runs.
EXTRA = {
    "api-server": [
        "airflow.api_fastapi.core_api.routes.public",
        "airflow.api_fastapi.core_api.routes.ui",
        "airflow.api_fastapi.execution_api.routes",
        "airflow.providers.fab.auth_manager.fab_auth_manager",
        "airflow.providers.fab.www.app",
    ],
    "scheduler": [
        "airflow.providers.cncf.kubernetes.executors.kubernetes_executor",
        "airflow.providers.cncf.kubernetes.executors.kubernetes_executor_utils",
    ],
}


def build_execution_api() -> None:
    """Build the API that tasks report to.

    Airflow itself does it at the first request, in its event loop: 9 s of CPU in which it answers nobody.
    Where another version of Airflow has other names for this, it stays at that.
    """
    app: Any = import_module("airflow.api_fastapi.app")
    with suppress(AttributeError):
        api = app.create_task_execution_api_app()
        api._cadwyn_initialize()
        app.create_task_execution_api_app = lambda: api


def main(component: str) -> None:
    """Import, wait, run."""
    # The first process of a container ignores signals that it does not handle; Airflow's handlers come later.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # Nothing of what is imported is garbage: looking for some takes a tenth of the time. Frozen, it is left
    # alone later on too, and stays shared with forked children.
    gc.disable()
    for module in (f"airflow.cli.commands.{component.replace('-', '_')}_command", *EXTRA.get(component, ())):
        import_module(module)
    if component == "api-server":
        build_execution_api()
    gc.freeze()
    gc.enable()
    if status := subprocess.run([sys.executable, "-m", "mlpipeline_dags.setup", "--wait"]).returncode:
        sys.exit(status)
    sys.argv = ["airflow", component]
    import_module("airflow.__main__").main()


if __name__ == "__main__":
    main(sys.argv[1])
