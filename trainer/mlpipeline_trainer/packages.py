"""What the user's code needs beside the image: pip installs it where this training alone sees it."""

from __future__ import annotations

import importlib
import importlib.metadata
import itertools
import os
import re
import site
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .errors import RequirementsError
from .log import say

_CONFLICT = "The conflict is caused by:"
_RETRYING = re.compile(r"^Retrying \(.*?\)\) after ")


def install(requirements: Sequence[str]) -> None:
    """Installs, and makes importable in this process and its children.

    What the image holds keeps its version: a numpy beside TensorFlow's own would break that. pip reads its
    own variables (PIP_INDEX_URL, ...).

    Raises:
        RequirementsError: pip failed; the message is in its words.
    """
    if not requirements:
        return
    folder = Path(tempfile.mkdtemp(prefix="requirements-"))
    constraints = folder / "constraints.txt"
    constraints.write_text(_installed())
    command = [sys.executable, "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    command += [] if "PIP_CACHE_DIR" in os.environ else ["--no-cache-dir"]
    # A prefix, and no target: that would fetch again all that is there already.
    command += ["--prefix", str(folder), "--no-warn-script-location", "--constraint", str(constraints)]
    say(f"requirements: {', '.join(requirements)}")
    lines: list[str] = []
    with subprocess.Popen(
        [*command, *requirements],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as pip:
        for line in pip.stdout or ():
            lines.append(line.strip())
            say(f"pip: {line.rstrip()}")
    if pip.returncode:
        raise RequirementsError(_cause(lines) or f"pip ended with {pip.returncode}")
    paths = {
        sysconfig.get_path(name, vars={"base": str(folder), "platbase": str(folder)})
        for name in ("purelib", "platlib")
    }
    for path in sorted(paths):
        site.addsitedir(path)
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [*sorted(paths), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    os.environ["PATH"] = os.pathsep.join([str(folder / "bin"), os.environ.get("PATH", os.defpath)])
    importlib.invalidate_caches()


def _installed() -> str:
    found = {
        (each.metadata["Name"], each.version)
        for each in importlib.metadata.distributions()
        if each.metadata["Name"]
    }
    return "".join(f"{name}=={version}\n" for name, version in sorted(found))


def _cause(lines: Sequence[str]) -> str:
    """Its last line that tells of an error, else its last; and why, where pip has that in other lines."""
    told = [line for line in lines if line]
    # What comes after a conflict's own words only says where to read on.
    errors = [line for line in told if line.startswith("ERROR:") and "ResolutionImpossible" not in line]
    cause = (errors or told or [""])[-1].removeprefix("ERROR: ")
    if _CONFLICT in lines:
        parties = itertools.takewhile(bool, lines[lines.index(_CONFLICT) + 1 :])
        return f"{cause} {'; '.join(parties)}".replace("(constraint)", "(constraint: the image holds it)")
    if cause.startswith("No matching distribution"):
        # An index that could not be asked looks, in pip's last line, like one that has no such package.
        trouble = [line.removeprefix("WARNING: ") for line in told if line.startswith("WARNING: ")]
        return "; ".join([cause, *(_RETRYING.sub("", line) for line in trouble[-1:])])
    return cause
