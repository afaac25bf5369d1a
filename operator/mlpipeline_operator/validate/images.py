"""How a container's image is pulled where the user does not say."""

from __future__ import annotations

__all__ = ["pull_policy"]


def pull_policy(image: str | None) -> str:
    """Kubernetes' own default for a user's image; the operator's own (None) has a tag that never moves."""
    if image is None or "@" in image:
        return "IfNotPresent"
    tag = image.rpartition("/")[2].partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"
