"""Build the images whose inputs changed, and load those that the cluster does not have."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from . import builders, controlplane, images, kind, mnist, native, toolchain
from .errors import ClusterError
from .paths import REPOSITORY, Layout, cache_root
from .processes import pipe, run
from .progress import Progress
from .record import Record, load, locked


def build(names: Iterable[str], progress: Progress) -> dict[str, str]:
    """Build what is not there yet and return each target's reference.

    Raises:
        ClusterError: if a build fails; the message quotes the end of its log.
    """
    targets = images.chosen(names)
    references = images.references(targets)
    builder = builders.choose(progress)
    for target, reference in references.items():
        _build(builder, target, reference, progress)
    return references


def load_into(layout: Layout, names: Iterable[str], progress: Progress) -> dict[str, str]:
    """Build what is not there yet, load what the cluster does not have, and return the references.

    Raises:
        ClusterError: if there is no cluster with a node, or a build or a load fails.
    """
    record = load(layout)
    if record is None or not record.ready:
        raise ClusterError(f"there is no cluster {layout.name!r}: run `python3 -m tools.cluster up`")
    if record.driver == "control-plane":
        raise ClusterError(f"the cluster {layout.name!r} has no node that could hold images")
    references = images.references(images.chosen(names))
    with locked(layout, progress):
        there = _loaded(layout, record)
        wanted = {target: each for target, each in references.items() if each not in there}
        if wanted:
            builder = builders.choose(progress)
            for target, reference in wanted.items():
                _build(builder, target, reference, progress)
                with progress.phase(f"Loading {reference}"):
                    _load(builder, layout, record, target, reference)
            _prune(layout, record, references, there)
    return references


def _build(builder: builders.Builder, target: str, reference: str, progress: Progress) -> None:
    if builder.has(reference):
        return
    with builder.exclusive():
        if builder.has(reference):
            return
        if images.needs_datasets(target):
            _place_datasets(progress)
        builder.prepare()
        with progress.phase(f"Building {reference}"):
            builder.build(target, reference, cache_root() / "logs" / f"image-{target}.log")
        if images.references([target])[target] != reference:
            builder.prune(target, [])
            raise ClusterError(f"files of {target} changed while it was built: run the same command again")
        builder.prune(target, [reference])


def _place_datasets(progress: Progress) -> None:
    """Put the data sets where the Dockerfile copies them from."""
    out = REPOSITORY / images.DATASETS / "mnist"
    if not all((out / name).exists() for name in mnist.FILES):
        mnist.copy(progress, out)


def _load(builder: builders.Builder, layout: Layout, record: Record, target: str, reference: str) -> None:
    if record.driver == "kind":
        if isinstance(builder, builders.Docker):
            kind.load(layout, record, reference)
            return
        raise ClusterError("a kind cluster takes its images from Docker, whose engine does not answer")
    import_it = [*native.enter(record), "ctr", "-n", "k8s.io", "images", "import", "-"]
    pipe(builder.export(reference), import_it, what=f"loading {reference}")
    _containerd(
        record, "images", "tag", "--force", f"docker.io/{reference}", f"docker.io/{images.newest(target)}"
    )


def _loaded(layout: Layout, record: Record) -> set[str]:
    """Return the references of our images that the cluster holds."""
    if record.driver == "kind":
        node = f"{layout.name}-control-plane"
        listed = run(["docker", "exec", node, "ctr", "-n", "k8s.io", "images", "list", "-q"])
    else:
        listed = _containerd(record, "images", "list", "-q")
    names = (name.removeprefix("docker.io/") for name in listed.split())
    return {name for name in names if name.startswith("mlpipeline/")}


def _prune(layout: Layout, record: Record, current: Mapping[str, str], there: set[str]) -> None:
    """Remove images that were superseded and that nothing in the cluster names any more."""
    if record.driver != "native":
        return
    kubectl = controlplane.kubectl_of(layout, toolchain.folder(toolchain.NODE))
    kinds = "pods,deployments,statefulsets,daemonsets,jobs,cronjobs,configmaps"
    used = json.dumps(kubectl.get(kinds, "--all-namespaces"))
    repositories = {reference.partition(":")[0] for reference in current.values()}
    for old in there - set(current.values()):
        repository, _, tag = old.partition(":")
        if repository in repositories and tag != "dev" and old not in used:
            _containerd(record, "images", "remove", f"docker.io/{old}")


def _containerd(record: Record, *arguments: str) -> str:
    return run(
        [*native.enter(record), "ctr", "-n", "k8s.io", *arguments], what="ctr " + " ".join(arguments[:2])
    )
