"""A kind cluster, where Docker's engine works."""

from __future__ import annotations

import json
import os
import shutil
import string
import subprocess
from pathlib import Path

from . import api, processes, toolchain
from .components import AUDIT_POLICY
from .errors import ClusterError
from .paths import Layout
from .progress import Progress
from .record import Record

_AUDIT_FOLDER = "/var/log/kubernetes/audit"
_CONFIG = Path(__file__).with_name("kind.yaml")


def engine_works() -> bool:
    """Tell whether there is a Docker client whose engine answers."""
    if shutil.which("docker") is None:
        return False
    try:
        done = subprocess.run(
            ["docker", "info", "--format", "{{.ServerVersion}}"], capture_output=True, timeout=20
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def config(layout: Layout) -> str:
    """Return kind's configuration for the cluster."""
    return string.Template(_CONFIG.read_text()).substitute(state=layout.root)


def up(layout: Layout, progress: Progress) -> Record:
    """Create the kind cluster and wait until it is ready.

    Raises:
        ClusterError: if kind fails; the message quotes the end of its log.
    """
    if not engine_works():
        raise ClusterError("--driver kind needs a working Docker engine: `docker info` fails")
    kind = _program(progress)
    # kind asks for the path of its configuration; the audit log's folder must be there to be mounted.
    layout.audit_log.parent.mkdir(parents=True, exist_ok=True)
    (layout.root / "audit-policy.json").write_text(json.dumps(AUDIT_POLICY))
    path = layout.root / "kind.yaml"
    path.write_text(config(layout))
    record = Record("kind", toolchain.KIND_VERSION, details={"kind": kind})
    record.save(layout)
    with progress.phase("Creating the kind cluster"):
        _run(kind, layout, "create", "cluster", "--config", str(path), "--wait", "180s")
    kubectl = api.Kubectl(_kubectl(progress), layout.kubeconfig)
    _on_node(layout, f"chmod -R a+rX {_AUDIT_FOLDER}")
    with progress.phase("Setting up storage"):
        _share_storage(kubectl)
    record.version = str(json.loads(kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"])
    record.ready = True
    record.save(layout)
    return record


def down(layout: Layout, record: Record) -> None:
    """Delete the kind cluster."""
    kind = record.details.get("kind", "kind")
    # The API server wrote its audit log as root: who is not root could not remove it.
    _on_node(layout, f"rm -rf {_AUDIT_FOLDER}/*")
    _run(kind, layout, "delete", "cluster")


def _on_node(layout: Layout, script: str) -> None:
    """Run a script on the node, as root; that it fails does not matter."""
    node = f"{layout.name}-control-plane"
    subprocess.run(["docker", "exec", node, "sh", "-c", script], capture_output=True)


def alive(layout: Layout) -> bool:
    """Tell whether the cluster's node runs."""
    name = f"{layout.name}-control-plane"
    done = subprocess.run(
        ["docker", "inspect", "--format", "{{.State.Running}}", name], capture_output=True, text=True
    )
    return done.returncode == 0 and done.stdout.strip() == "true"


def load(layout: Layout, record: Record, reference: str) -> None:
    """Load an image of Docker's into the node."""
    kind = record.details.get("kind", "kind")
    processes.run([kind, "load", "docker-image", reference, "--name", layout.name], what="kind load")


def _program(progress: Progress) -> str:
    return shutil.which("kind") or str(toolchain.ensure(toolchain.KIND, progress) / "kind")


def _kubectl(progress: Progress) -> str:
    return shutil.which("kubectl") or str(toolchain.ensure(toolchain.NODE, progress) / "kubectl")


def _run(kind: str, layout: Layout, *arguments: str) -> None:
    # Without KUBECONFIG, and with --kubeconfig: the user's own is neither read nor written.
    env = {key: value for key, value in os.environ.items() if key != "KUBECONFIG"}
    processes.run(
        [kind, *arguments, "--name", layout.name, "--kubeconfig", str(layout.kubeconfig)],
        log=layout.log("kind"),
        env=env,
        what=f"kind {' '.join(arguments[:2])}",
    )


def _share_storage(kubectl: api.Kubectl) -> None:
    """Let kind's provisioner bind ReadWriteMany claims too: on one node, a folder is shared anyway."""
    namespace = "--namespace=local-path-storage"
    shared = json.dumps({"sharedFileSystemPath": "/var/local-path-provisioner"})
    patch = json.dumps({"data": {"config.json": shared}})
    kubectl("patch", namespace, "configmap", "local-path-config", "--type=merge", f"--patch={patch}")
    kubectl("rollout", namespace, "restart", "deployment/local-path-provisioner")
    kubectl("rollout", namespace, "status", "deployment/local-path-provisioner", "--timeout=120s")
