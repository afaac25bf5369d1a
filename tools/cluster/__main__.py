"""The command line: ``python3 -m tools.cluster``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from . import api, imageload, images, lifecycle, mnist
from .errors import ClusterError
from .paths import DEFAULT_NAME, Layout
from .progress import Progress


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="python3 -m tools.cluster",
        description="A real Kubernetes for development and tests: kind where Docker works, "
        "else its own components on this machine, in namespaces of their own.",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--name", default=DEFAULT_NAME, help="the cluster's name (default: %(default)s)")
        return command

    up = add("up", "bring the cluster up; harmless where it is up already")
    up.add_argument(
        "--control-plane-only",
        action="store_true",
        help="API server, etcd and controller manager on loopback; needs no root",
    )
    up.add_argument(
        "--driver",
        choices=lifecycle.DRIVERS,
        default="auto",
        help="auto: kind where Docker's engine works, else native",
    )
    add("down", "take the cluster down and leave nothing behind")
    add("status", "print how the cluster is, as JSON; exit status 1 unless it is ready")
    add("kubeconfig", "print the path of the cluster's kubeconfig")
    add("audit-log", "print the path of the API server's audit log (JSON lines)")
    add("kubectl-path", "print the path of the kubectl to use")

    image = add("images", "build the Dockerfile's images, load them, print their references (JSON)")
    image.add_argument(
        "action",
        choices=["build", "load", "refs"],
        help="build what changed; build and load into the cluster; only print the references",
    )
    image.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="TARGET",
        help=f"one of {', '.join(images.TARGETS)}; may be repeated (default: all)",
    )
    dataset = add("dataset", "fetch a data set and print its folder")
    dataset.add_argument("dataset", choices=["mnist"])
    dataset.add_argument("--out", type=Path, metavar="DIR", help="copy the files there")
    return top


def _up(arguments: argparse.Namespace) -> int:
    layout = Layout(arguments.name)
    progress = Progress("up --control-plane-only" if arguments.control_plane_only else "up")
    lifecycle.up(layout, progress, control_plane_only=arguments.control_plane_only, driver=arguments.driver)
    progress.note(f"  kubeconfig: {layout.kubeconfig}")
    return 0


def _down(arguments: argparse.Namespace) -> int:
    progress = Progress("down")
    if not lifecycle.down(Layout(arguments.name), progress):
        progress.note(f"  There is no cluster {arguments.name!r}.")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    found = lifecycle.status(Layout(arguments.name))
    print(json.dumps(found, indent=2))
    return 0 if found["state"] == "Ready" else 1


def _existing(name: str) -> Layout:
    layout = Layout(name)
    if not layout.kubeconfig.exists():
        raise ClusterError(f"there is no cluster {name!r}: run `python3 -m tools.cluster up`")
    return layout


def _kubeconfig(arguments: argparse.Namespace) -> int:
    print(_existing(arguments.name).kubeconfig)
    return 0


def _audit_log(arguments: argparse.Namespace) -> int:
    print(_existing(arguments.name).audit_log)
    return 0


def _kubectl_path(arguments: argparse.Namespace) -> int:
    print(api.kubectl_path(lifecycle.programs()))
    return 0


def _images(arguments: argparse.Namespace) -> int:
    progress = Progress(f"images {arguments.action}")
    layout = Layout(arguments.name)
    if arguments.action == "refs":
        references = images.references(images.chosen(arguments.target))
    elif arguments.action == "build":
        references = imageload.build(arguments.target, progress)
    else:
        references = imageload.load_into(layout, arguments.target, progress)
        if progress.phases:
            progress.save(layout.timings)
    print(json.dumps(references, indent=2))
    return 0


def _dataset(arguments: argparse.Namespace) -> int:
    progress = Progress("dataset")
    if arguments.out:
        mnist.copy(progress, arguments.out)
    print(arguments.out or mnist.ensure(progress))
    return 0


_COMMANDS = {
    "up": _up,
    "down": _down,
    "status": _status,
    "kubeconfig": _kubeconfig,
    "audit-log": _audit_log,
    "kubectl-path": _kubectl_path,
    "images": _images,
    "dataset": _dataset,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    arguments = parser().parse_args(argv)
    try:
        status = _COMMANDS[arguments.command](arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # Whoever read the output (head, say) has enough; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; run the same command again to go on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
