"""The command line: ``python -m mlpipeline_operator run``."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer

from mlpipeline_operator.cluster import Cluster
from mlpipeline_operator.engine import Engine
from mlpipeline_operator.errors import TransientError
from mlpipeline_operator.handlers import operate
from mlpipeline_operator.health import serve_health
from mlpipeline_operator.lease import Leadership
from mlpipeline_operator.names import AIRFLOW_URL_TEMPLATE, API_VERSION
from mlpipeline_operator.settings import Settings
from mlpipeline_operator.values import Images

_log = logging.getLogger("mlpipeline_operator")
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

app = typer.Typer(help="The MLPipeline operator.", no_args_is_help=True, add_completion=False)


@app.callback()
def main() -> None:
    """Keep ``run`` a subcommand, so that others can join it."""


@app.command()
def run(
    airflow_image: Annotated[
        str, typer.Option(envvar="MLP_AIRFLOW_IMAGE", help="Image of managed Airflows.")
    ],
    trainer_image: Annotated[
        str, typer.Option(envvar="MLP_TRAINER_IMAGE", help="Image of trainings that name none.")
    ],
    postgres_image: Annotated[
        str, typer.Option(envvar="MLP_POSTGRES_IMAGE", help="Image of the embedded PostgreSQL.")
    ],
    namespace: Annotated[
        list[str] | None,
        typer.Option(envvar="MLP_NAMESPACES", help="Namespace to work in; repeat it. All, if left out."),
    ] = None,
    auto_create_airflow: Annotated[
        bool,
        typer.Option(
            envvar="MLP_AUTO_CREATE_AIRFLOW",
            help="Create the Airflow 'default' where a pipeline wants it and there is none.",
        ),
    ] = True,
    http_port: Annotated[
        int, typer.Option(envvar="MLP_HTTP_PORT", help="Port of /healthz, /readyz and /metrics.")
    ] = 8080,
    workers: Annotated[
        int, typer.Option(envvar="MLP_WORKERS", help="Resources reconciled at the same time.")
    ] = 16,
    airflow_poll_active: Annotated[
        float,
        typer.Option(envvar="MLP_AIRFLOW_POLL_ACTIVE", help="Seconds between polls while Airflow works."),
    ] = 1.0,
    airflow_poll_idle: Annotated[
        float, typer.Option(envvar="MLP_AIRFLOW_POLL_IDLE", help="Seconds between polls while it does not.")
    ] = 30.0,
    airflow_url_template: Annotated[
        str,
        typer.Option(
            envvar="MLP_AIRFLOW_URL_TEMPLATE",
            help="How managed Airflows are reached; for an operator outside the cluster.",
        ),
    ] = AIRFLOW_URL_TEMPLATE,
    log_format: Annotated[str, typer.Option(envvar="MLP_LOG_FORMAT", help="json or text.")] = "text",
    log_level: Annotated[str, typer.Option(envvar="MLP_LOG_LEVEL", help="debug, info, warning...")] = "info",
) -> None:
    """Run the operator against the cluster of the pod's service account, else of $KUBECONFIG."""
    _configure_logging(log_format, log_level)
    settings = Settings(
        images=Images(airflow=airflow_image, trainer=trainer_image, postgres=postgres_image),
        namespaces=tuple(namespace or ()),
        auto_create_airflow=auto_create_airflow,
        own_namespace=_own_namespace(),
        identity=f"{os.environ.get('POD_NAME') or socket.gethostname()}_{os.getpid()}",
        http_port=http_port,
        workers=workers,
        airflow_poll_active=airflow_poll_active,
        airflow_poll_idle=airflow_poll_idle,
        airflow_url_template=airflow_url_template,
    )
    raise typer.Exit(asyncio.run(_run(settings)))


async def _run(settings: Settings) -> int:
    """Run until a signal (0), or until the Lease is lost (1): the kubelet then starts us anew."""
    stopping, watching = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    cluster = await Cluster.connect()
    leadership = Leadership(cluster, settings.own_namespace, settings.identity)
    engine = Engine(settings, cluster.guarded(leadership.is_leading))
    try:
        async with serve_health(settings.http_port, watching.is_set):
            stop = asyncio.create_task(stopping.wait())
            watch = functools.partial(operate, engine, settings, stopping.set, watching)
            work = asyncio.create_task(_work(engine, cluster, leadership, watch))
            await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
                return 1
            _log.info("stopping")
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
            await leadership.release()
            return 0
    finally:
        await cluster.close()


async def _work(
    engine: Engine,
    cluster: Cluster,
    leadership: Leadership,
    watch: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    """Watch at once, so that a replica that takes over knows everything already; reconcile once it leads."""
    await _until_served(cluster)
    await _primed(engine)
    watches = asyncio.create_task(watch())
    try:
        lead = asyncio.create_task(_lead(engine, leadership))
        try:
            done, _ = await asyncio.wait({watches, lead}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            lead.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await lead
    finally:
        engine.recount.cancel()
        watches.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watches


async def _lead(engine: Engine, leadership: Leadership) -> None:
    await leadership.acquire()
    reconciling = asyncio.create_task(engine.run())
    holding = asyncio.create_task(leadership.hold())
    try:
        done, _ = await asyncio.wait({reconciling, holding}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        holding.cancel()
        reconciling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reconciling


async def _primed(engine: Engine) -> None:
    """Read everything once, however often that must be tried."""
    while True:
        try:
            return await engine.prime()
        except TransientError as error:
            _log.warning("waiting: %s", error.message)
            await asyncio.sleep(1)


async def _until_served(cluster: Cluster) -> None:
    """Wait for the CRDs: kopf is told not to look for kinds that appear later."""
    told = False
    while True:
        try:
            if await cluster.is_served(API_VERSION):
                return
            message = f"{API_VERSION} is not served: install the CRDs (kubectl apply -k crds)"
        except TransientError as error:
            message = error.message
        if not told:
            _log.warning("waiting: %s", message)
            told = True
        await asyncio.sleep(1)


def _own_namespace() -> str:
    if os.environ.get("POD_NAMESPACE"):
        return os.environ["POD_NAMESPACE"]
    return _NAMESPACE_FILE.read_text().strip() if _NAMESPACE_FILE.exists() else "default"


def _configure_logging(log_format: str, log_level: str) -> None:
    """One line per record, from the standard library's loggers (kopf's too) through structlog."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            renderer,
        ],
    )
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=log_level.upper(), force=True)
    # kopf tells of every event that it passes on.
    logging.getLogger("kopf").setLevel(logging.WARNING)


if __name__ == "__main__":
    app(prog_name="mlpipeline-operator")
