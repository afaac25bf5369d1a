"""``spec.steps`` -> ``ContainerStep``: names, dependencies, and what the steps' texts refer to."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

from mlpipeline_operator.api.steps import LONGEST_STEP_NAME, PipelineStep
from mlpipeline_operator.errors import SpecError
from mlpipeline_operator.validate import quantities
from mlpipeline_operator.validate.images import pull_policy
from mlpipeline_operator.validate.wire import env_vars
from mlpipeline_operator.values import ContainerStep, Images

__all__ = ["container_steps", "steps_workload"]

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
# $$( stands for $( itself, as in Kubernetes.
_REFERENCE: Final = re.compile(r"\$?\$\(((?:params|steps)\.[^()]*)\)")
_OUTPUT: Final = re.compile(r"steps\.([^.]+)\.outputs\.([A-Za-z0-9_.-]+)")


def container_steps(
    steps: Sequence[PipelineStep], parameters: Collection[str], images: Images
) -> tuple[ContainerStep, ...]:
    """Return the steps in an order in which they may run, each after those that it depends on.

    Args:
        steps: The steps as the spec has them.
        parameters: Names of the pipeline's parameters.
        images: The operator's own images.

    Raises:
        SpecError: A name is bad, double or unknown, the steps depend on each other in a circle, or a text
            refers to what will not be there.
    """
    named: dict[str, PipelineStep] = {}
    for step in steps:
        if len(step.name) > LONGEST_STEP_NAME or not _NAME.fullmatch(step.name):
            raise SpecError(
                f'spec.steps: "{step.name}" will not do as the name of a step; use at most'
                f' {LONGEST_STEP_NAME} characters of a-z, 0-9 and "-", beginning and ending with a letter or'
                " digit"
            )
        if step.name in named:
            raise SpecError(f"spec.steps: there are two steps {step.name}; rename one of them")
        named[step.name] = step
    upstream = _upstream(named)
    return tuple(_step(named[name], upstream[name], parameters, images) for name in upstream)


def steps_workload(steps: Sequence[PipelineStep]) -> list[dict[str, Any]]:
    """Return what of the steps makes a run another one: not how well they run, nor the spec's order."""
    workload = []
    for step in sorted(steps, key=lambda each: each.name):
        found = step.model_dump(
            by_alias=True, exclude_none=True, include={"name", "image", "command", "args", "depends_on"}
        )
        if step.depends_on:
            found["dependsOn"] = sorted(step.depends_on)
        env = {each.pop("name"): each for each in env_vars(step.env)}
        workload.append({**found, **({"env": env} if env else {})})
    return workload


def _upstream(steps: Mapping[str, PipelineStep]) -> dict[str, set[str]]:
    """Return each step's direct and indirect dependencies, in an order in which the steps may run."""
    for step in steps.values():
        for name in step.depends_on or ():
            if name == step.name:
                raise SpecError(f"spec.steps: step {name} cannot depend on itself")
            if name not in steps:
                raise SpecError(
                    f"spec.steps: step {step.name} depends on {name}, which there is not;"
                    f" there are {', '.join(steps)}"
                )
    sorter = TopologicalSorter({name: step.depends_on or () for name, step in steps.items()})
    try:
        order = list(sorter.static_order())
    except CycleError as error:
        # Each of its nodes depends on the one before it.
        circle = " -> ".join(error.args[1])
        raise SpecError(f"spec.steps: the steps depend on each other in a circle: {circle}") from None
    upstream: dict[str, set[str]] = {}
    for name in order:
        direct = steps[name].depends_on or ()
        upstream[name] = set(direct).union(*(upstream[each] for each in direct))
    return upstream


def _step(
    step: PipelineStep, upstream: Collection[str], parameters: Collection[str], images: Images
) -> ContainerStep:
    path = f"spec.steps[{step.name}]"
    if step.image is None and not step.command:
        raise SpecError(
            f"{path}.command: without image the step runs in the operator's trainer image:"
            " say what in command"
        )
    env = env_vars(step.env)
    reads: dict[str, None] = {}
    for place, text in _texts(step, env):
        for reference in _references(text):
            kind, _, name = reference.partition(".")
            if kind == "params":
                _check_parameter(f"{path}.{place}", name, parameters)
            else:
                reads[_output_step(f"{path}.{place}", reference, step.name, upstream)] = None
    command, args = tuple(step.command or ()), tuple(step.args or ())
    return ContainerStep(
        name=step.name,
        image=step.image or images.trainer,
        image_pull_policy=step.image_pull_policy or pull_policy(step.image),
        own_pod=step.image is not None,
        command=command,
        args=args,
        env=env,
        resources=quantities.resource_requirements(step.resources, f"{path}.resources"),
        depends_on=tuple(step.depends_on or ()),
        reads=tuple(reads),
        retries=step.retries,
    )


def _texts(step: PipelineStep, env: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """The texts that may refer to something, and where each stands."""
    for place, words in (("command", step.command), ("args", step.args)):
        for index, word in enumerate(words or ()):
            yield f"{place}[{index}]", word
    for variable in env:
        yield f"env[{variable['name']}]", variable.get("value", "")


def _references(text: str) -> Iterator[str]:
    for match in _REFERENCE.finditer(text):
        if not match[0].startswith("$$"):
            yield match[1]


def _check_parameter(place: str, name: str, parameters: Collection[str]) -> None:
    if name not in parameters:
        raise SpecError(
            f"{place}: $(params.{name}) is no parameter of this pipeline: give it a value in spec.parameters"
        )


def _output_step(place: str, reference: str, step: str, upstream: Collection[str]) -> str:
    """Return the step whose output is referred to."""
    match = _OUTPUT.fullmatch(reference)
    if match is None:
        raise SpecError(f"{place}: $({reference}) is no output of a step; write $(steps.NAME.outputs.KEY)")
    if match[1] not in upstream:
        raise SpecError(
            f"{place}: $({reference}) needs step {match[1]} to have ended before step {step} begins:"
            f" name it in the dependsOn of {step}"
        )
    return match[1]
