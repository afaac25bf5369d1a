"""The pods of a pipeline's steps, as its DAG names them.

A step that runs in the worker's pod is one pod: KubernetesExecutor lays what is here over the pod template of
the pipeline's Airflow, where its security comes from. A step with an image of its own is two: a launcher, in
Airflow's own image, and the step's, which is here in full.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mlpipeline_operator import names
from mlpipeline_operator.build.airflow.pods import merge_env, pod_security
from mlpipeline_operator.build.airflow.worker import WORKER_RESOURCES
from mlpipeline_operator.build.meta import owner_reference
from mlpipeline_operator.values import ContainerStep, PipelineValue, Step

__all__ = ["container_step", "sample_pod", "worker_pod"]

_ARTIFACTS: Final = "artifacts"
# What the trainer image runs by the name of python.
_TRAINER_PATH: Final = "/opt/trainer/bin"
# Time for a step to save what it has after SIGTERM.
_GRACE_SECONDS: Final = 60


def container_step(pipeline: PipelineValue, step: ContainerStep) -> dict[str, Any]:
    """Return one of ``spec.steps`` as the DAG has it."""
    found: dict[str, Any] = {"name": step.name, "after": list(step.depends_on), "reads": list(step.reads)}
    if step.retries is not None:
        found["retries"] = step.retries
    if step.own_pod:
        return {
            **found,
            "podName": f"{pipeline.owner.name}-{step.name}",
            "worker": _launcher_pod(pipeline, step),
            "pod": _step_pod(pipeline, step),
        }
    return {
        **found,
        "command": [*step.command, *step.args],
        "path": _TRAINER_PATH,
        "resolved": [each["name"] for each in step.env if "$(" in each.get("value", "")],
        "worker": worker_pod(pipeline, step, [_kept_from_the_kubelet(each) for each in step.env]),
    }


def _kept_from_the_kubelet(variable: Mapping[str, Any]) -> Mapping[str, Any]:
    """The kubelet makes $( of $$( before the DAG looks for what a text refers to."""
    if "value" not in variable:
        return variable
    return {**variable, "value": variable["value"].replace("$$(", "$$$$(")}


def worker_pod(pipeline: PipelineValue, step: Step, env: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a step that runs in the worker's pod wants of it."""
    container = {
        "name": "base",
        "image": step.image,
        "imagePullPolicy": step.image_pull_policy,
        "env": [dict(each) for each in env],
        # Empty ones would take the place of those in the worker's template, and leave the pod none.
        **({"resources": dict(step.resources)} if step.resources else {}),
        "volumeMounts": [{"name": _ARTIFACTS, "mountPath": names.ARTIFACTS_MOUNT}],
    }
    spec = {
        "serviceAccountName": pipeline.service_account,
        "containers": [container],
        "volumes": [_artifacts_volume(pipeline)],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": _metadata(pipeline, step), "spec": spec}


def _launcher_pod(pipeline: PipelineValue, step: ContainerStep) -> dict[str, Any]:
    """Return the worker that starts and watches a step's pod; no code of the user's runs in it."""
    metadata = _metadata(pipeline, step)
    metadata["labels"][names.ROLE_LABEL] = names.LAUNCHER_ROLE
    container = {
        "name": "base",
        # Its patience with an API server that is away, about ten minutes.
        "env": [{"name": "AIRFLOW__WORKERS__API_RETRIES", "value": "40"}],
    }
    spec = {
        "serviceAccountName": names.airflow_service_account(pipeline.airflow, names.LAUNCHER_ROLE),
        "containers": [container],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _step_pod(pipeline: PipelineValue, step: ContainerStep) -> dict[str, Any]:
    """Return the pod of a step with an image of its own, under the security level "restricted"."""
    owner = pipeline.owner
    folder = names.artifacts_path(owner.namespace, owner.name, "").rstrip("/")
    container = {
        "name": "base",
        "image": step.image,
        "imagePullPolicy": step.image_pull_policy,
        "command": list(step.command),
        "args": list(step.args),
        # The image may know no such user, and no home for it.
        "env": merge_env([{"name": "HOME", "value": "/tmp"}], step.env),
        "resources": dict(step.resources),
        # Its root may be written to, unlike Airflow's: nobody knows where a foreign image writes.
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},
            # The run's own folder: the DAG puts its name here, and the kubelet makes it.
            {"name": _ARTIFACTS, "subPath": folder},
        ],
    }
    spec = {
        "restartPolicy": "Never",
        "serviceAccountName": pipeline.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "securityContext": pod_security(),
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}, _artifacts_volume(pipeline)],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": _metadata(pipeline, step), "spec": spec}


def sample_pod(pipeline: PipelineValue, step: Step, *, launched: bool) -> dict[str, Any]:
    """Return a pod that asks for as much as a step's (``launched``: beside its launcher), for a dry run."""
    own_pod = isinstance(step, ContainerStep) and step.own_pod
    of_step = {} if own_pod and not launched else dict(step.resources)
    container = {
        "name": "base",
        "image": step.image,
        "resources": of_step if of_step or launched else WORKER_RESOURCES,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    name = f"{pipeline.owner.name}-{step.name}".lower()
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": pipeline.owner.namespace},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": pod_security(),
            "containers": [container],
        },
    }


def _metadata(pipeline: PipelineValue, step: Step) -> dict[str, Any]:
    owner = owner_reference(pipeline.owner) | {"controller": False, "blockOwnerDeletion": False}
    labels = {**names.pipeline_labels(pipeline.owner.name), names.STEP_LABEL: step.name}
    # Airflow may run elsewhere and for several namespaces. In another one than its owner's, a pod would be
    # garbage to Kubernetes, and the operator would not see it.
    return {"namespace": pipeline.owner.namespace, "labels": labels, "ownerReferences": [owner]}


def _artifacts_volume(pipeline: PipelineValue) -> dict[str, Any]:
    return {"name": _ARTIFACTS, "persistentVolumeClaim": {"claimName": pipeline.artifacts_claim}}
