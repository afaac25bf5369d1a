"""What can go wrong in a reconcile; the type says what happens next.

::

    OperatorError
    ├── SpecError       only the user can mend it: becomes a condition and waits for an edit
    ├── NotReadyError   something is still on its way: becomes a condition, tried again when a watch says so
    └── TransientError  409, 429, 5xx, timeouts: tried again with backoff
"""

from __future__ import annotations

__all__ = ["NotReadyError", "OperatorError", "SpecError", "TransientError"]


class OperatorError(Exception):
    """Base of every error the operator raises itself.

    Args:
        message: What went wrong and what to do about it, for the resource's status.
        reason: CamelCase word for the condition's ``reason``.
    """

    reason = "Error"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if reason is not None:
            self.reason = reason


class SpecError(OperatorError):
    """The resource asks for something that only an edit of it can mend."""

    reason = "InvalidSpec"


class NotReadyError(OperatorError):
    """Something that this resource needs is not there yet."""

    reason = "NotReady"


class TransientError(OperatorError):
    """A failure that is expected to pass: retried with backoff.

    Args:
        retry_after: Seconds that the server asked to wait, if it said.
    """

    reason = "Retrying"

    def __init__(self, message: str, *, reason: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, reason=reason)
        self.retry_after = retry_after
