"""Airflow's access tokens: when to get another one."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from mlpipeline_operator.errors import NotReadyError

__all__ = ["Token", "read_token"]

# A token is renewed this long before it ends, so that a slow call does not outlive it.
_RENEW_BEFORE: Final = 60.0
# For a token that does not say when it ends.
_DEFAULT_LIFE: Final = 3600.0
# A token as young as this is refused for what its user may do, and not for its age.
_FRESH: Final = 1.0


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, with two moments of this process's monotonic clock."""

    value: str
    issued_at: float
    renew_at: float

    def due(self) -> bool:
        """Whether it is about to end, or has ended."""
        return monotonic() >= self.renew_at

    def fresh(self) -> bool:
        """Whether it was given only just now."""
        return monotonic() - self.issued_at < _FRESH


def read_token(body: Any, url: str) -> Token:
    """Read the answer to ``POST /auth/token``.

    Raises:
        NotReadyError: There is no token in it.
    """
    value = body.get("access_token") if isinstance(body, dict) else None
    if not isinstance(value, str):
        raise NotReadyError(f"Airflow at {url} gave no access token.", reason="AirflowUnexpectedAnswer")
    life = _DEFAULT_LIFE
    try:
        payload = value.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        # From its own two times, so that a clock that differs from Airflow's does no harm.
        life = float(claims["exp"]) - float(claims["iat"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        pass
    now = monotonic()
    return Token(value, now, now + max(life - _RENEW_BEFORE, life / 2))
