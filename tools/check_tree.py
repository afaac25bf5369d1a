"""Checks of the tree as a whole: what must never be in it, and links that lead nowhere.

Run ``python3 -m tools.check_tree`` in the repository. It looks at what git tracks and at new files that
git does not ignore.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_LARGEST_BYTES: Final = 1_000_000

# A pattern, why it must not be there. The dots are escaped, so this file does not match itself.
_FORBIDDEN: Final = (
    (re.compile(r"(?<![\w./-])/(?:root|work)/"), "a path of one machine"),
    (re.compile(r"(?<![\w./-])/(?:home|Users)/(?!airflow\b)\w+"), "a path of one machine"),
    (
        re.compile(
            r"\b(?:pypi\.org|pythonhosted\.org|registry\.npmjs\.org|proxy\.golang\.org|deb\.debian\.org"
            r"|ghcr\.io|quay\.io|gcr\.io|registry\.k8s\.io)\b"
        ),
        "a registry's host",
    ),
    (re.compile(r"^\s*--?(?:index-url|extra-index-url|find-links|trusted-host)\b"), "a package index"),
)
_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


def files() -> list[Path]:
    """Return the files that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    return [path for name in sorted(set(listed.split("\0"))) if name and (path := Path(name)).is_file()]


def problems(path: Path) -> Iterator[str]:
    """Yield what is wrong with one file, each as ``path:line: what``."""
    if path == Path("operator/__init__.py"):
        yield f"{path}: a package named operator breaks the standard library"
    if path.stat().st_size > _LARGEST_BYTES:
        yield f"{path}: larger than {_LARGEST_BYTES} bytes"
        return
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        yield f"{path}: not UTF-8 text"
        return
    for number, line in enumerate(text.splitlines(), start=1):
        for pattern, what in _FORBIDDEN:
            if found := pattern.search(line):
                yield f"{path}:{number}: {what}: {found.group().strip()}"
    if path.suffix == ".md":
        yield from _broken_links(path, text)


def _broken_links(path: Path, text: str) -> Iterator[str]:
    for target in _LINK.findall(text):
        if "://" not in target and not target.startswith("mailto:") and not (path.parent / target).exists():
            yield f"{path}: the link to {target} leads nowhere"


def main() -> int:
    """Print the problems of the whole tree; 1 if there are any."""
    found = [problem for path in files() for problem in problems(path)]
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
