"""The command line: ``python3 -m tools.demo``."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from tools.cluster.errors import ClusterError
from tools.cluster.paths import DEFAULT_NAME, REPOSITORY, Layout
from tools.cluster.progress import Progress
from tools.demo.diagnose import diagnosis
from tools.demo.follow import Followed, NotFinishedError, follow, has_failed, run_again
from tools.demo.install import install
from tools.demo.kube import Kube, KubeError

_EXAMPLE = REPOSITORY / "manifests" / "examples" / "mnist.yaml"
_PIPELINE = "mnist"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="python3 -m tools.demo",
        description="Bring up a cluster, install the operator, train on MNIST and show the result. "
        "What is there already stays; run it again at any time.",
    )
    top.add_argument("--name", default=DEFAULT_NAME, help="the cluster's name (default: %(default)s)")
    top.add_argument("--namespace", default="demo", help="where the pipeline goes (default: %(default)s)")
    top.add_argument("--timeout", type=float, default=1800, help="seconds to wait for the run (%(default)s)")
    top.add_argument("--operator-only", action="store_true", help="stop once the operator is ready")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit status."""
    arguments = parser().parse_args(argv)
    layout = Layout(arguments.name)
    progress = Progress("demo")
    kube: Kube | None = None
    try:
        kube = install(layout, progress)
        if not arguments.operator_only:
            followed = _train(kube, arguments.namespace, arguments.timeout, progress)
            _record(progress, followed, layout)
            _show(kube, arguments.namespace, arguments.name, progress)
    except (ClusterError, KubeError, NotFinishedError) as error:
        print(f"\nerror: {error}", file=sys.stderr)
        if layout.kubeconfig.exists() and not isinstance(error, ClusterError):
            for line in diagnosis(kube or Kube(layout), arguments.namespace):
                print(line, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; everything goes on where it was: `make demo` follows again", file=sys.stderr)
        return 130
    return 0


def _train(kube: Kube, namespace: str, timeout: float, progress: Progress) -> Followed:
    if kube.get("namespace", namespace) is None:
        kube.run("create", "namespace", namespace)
    # Restricted, so that the demo shows that nothing needs more.
    level = "pod-security.kubernetes.io/enforce=restricted"
    kube.run("label", "namespace", namespace, level, "--overwrite")
    kube.run("apply", "--server-side", f"--namespace={namespace}", f"--filename={_EXAMPLE}")
    progress.note(f"  kubectl apply -n {namespace} -f {_EXAMPLE.relative_to(REPOSITORY)}")
    if has_failed(kube, namespace, _PIPELINE):
        # An unchanged pipeline is not run again by itself.
        progress.note("  Its last run failed: starting another one.")
        run_again(kube, namespace, _PIPELINE)
    return follow(kube, namespace, _PIPELINE, timeout=timeout, tell=progress.note)


def _record(progress: Progress, followed: Followed, layout: Layout) -> None:
    """Add the pipeline's states to the phases, print all of them, and keep them beside the cluster."""
    for (state, began), (_, ended) in pairwise(followed.transitions):
        progress.phases.append((state, round(ended - began, 2)))
    progress.save(layout.timings)
    print("\nPhases, in seconds")
    for name, seconds in progress.phases:
        print(f"  {seconds:8.1f}  {name}")
    print(f"  {sum(seconds for _, seconds in progress.phases):8.1f}  together")


def _show(kube: Kube, namespace: str, cluster: str, progress: Progress) -> None:
    kube.run("config", "set-context", "--current", f"--namespace={namespace}")
    for kind in ("mlpipelines", "mlpipelineruns"):
        print(f"\n$ kubectl get {kind}")
        print(kube.run("get", kind, f"--namespace={namespace}"), end="")
    access = _access(kube, namespace)
    suffix = "" if cluster == DEFAULT_NAME else f" CLUSTER={cluster}"
    print(f"\nThe cluster goes on. To look at it:\n\n  export KUBECONFIG={kube.kubeconfig}")
    if shutil.which("kubectl") is None:
        print(f"  export PATH=$PATH:{Path(kube.program).parent}")
    print("  kubectl get mlpipelines,mlpipelineruns,airflows,pods")
    print("  kubectl describe mlpipelinerun mnist-1")
    if access:
        print("\nAirflow's UI is at http://localhost:8080 while this runs:\n")
        print(f"  {access['command']}")
        print(f"  user {access['username']}, password: kubectl get secret {access['passwordSecret']}", end="")
        print(" -o jsonpath='{.data.password}' | base64 -d")
    print(f"\nTo end it and leave nothing behind:\n\n  make cluster-down{suffix}")


def _access(kube: Kube, namespace: str) -> dict[str, str]:
    airflow = kube.get("airflow", "default", namespace) or {}
    found: dict[str, str] = (airflow.get("status") or {}).get("access") or {}
    return found


if __name__ == "__main__":
    sys.exit(main())
