"""What each target of a Dockerfile is made of: its own lines, other stages', files (pure)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field

_FROM = re.compile(r"FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?\s*$", re.IGNORECASE)
_COPY = re.compile(r"(?:COPY|ADD)\s+(.*)$", re.IGNORECASE | re.DOTALL)
_MOUNT = re.compile(r"--mount=\S*\bfrom=([^,\s]+)")


@dataclass
class Stage:
    """A stage of a Dockerfile.

    Attributes:
        instructions: Its instructions, continuation lines joined, comments left out.
        base: The stage (or image) that it starts from.
        copied: The stages (or images) that it copies or mounts files from.
        sources: The paths and patterns of the build context that it copies.
    """

    instructions: list[str] = field(default_factory=list)
    base: str = ""
    copied: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)


def stages(text: str) -> dict[str, Stage]:
    """Return the named stages of a Dockerfile; what comes before the first is part of each."""
    found: dict[str, Stage] = {}
    common: list[str] = []
    stage: Stage | None = None
    for instruction in _instructions(text):
        opened = _FROM.match(instruction)
        if opened:
            stage = Stage([*common, instruction], opened[1])
            found[opened[2] or f"stage-{len(found)}"] = stage
        elif stage is None:
            common.append(instruction)
        else:
            stage.instructions.append(instruction)
            stage.copied += _MOUNT.findall(instruction)
            copied = _COPY.match(instruction)
            if copied:
                _copy(stage, copied[1])
    return found


def closure(found: dict[str, Stage], target: str) -> list[Stage]:
    """Return the target's stage and all that it is made from.

    Raises:
        KeyError: if there is no such stage.
    """
    seen: dict[str, Stage] = {}
    waiting = [target]
    while waiting:
        name = waiting.pop()
        if name in seen or (name not in found and name != target):
            continue
        seen[name] = found[name]
        waiting += [found[name].base, *found[name].copied]
    return list(seen.values())


def copied_stages(found: dict[str, Stage], target: str) -> list[str]:
    """Return the stages that the target copies files from, those first that others need."""
    made_of = closure(found, target)
    return [name for name in found if any(name in stage.copied for stage in made_of)]


def _copy(stage: Stage, arguments: str) -> None:
    if arguments.rstrip().endswith("]"):
        flags, _, listed = arguments.partition("[")
        words = [*flags.split(), *(word.strip(" \"'") for word in listed.rstrip(" ]").split(","))]
    else:
        words = shlex.split(arguments)
    origin = [word.partition("=")[2] for word in words if word.startswith("--from=")]
    if origin:
        stage.copied += origin
    else:
        stage.sources += [word for word in words if not word.startswith("--")][:-1]


def _instructions(text: str) -> Iterator[str]:
    joined = ""
    for line in text.splitlines():
        if line.lstrip().startswith("#") or not line.strip():
            continue
        joined += line.rstrip()
        if joined.endswith("\\"):
            joined = joined[:-1] + " "
            continue
        yield joined.strip()
        joined = ""
    if joined:
        yield joined.strip()
