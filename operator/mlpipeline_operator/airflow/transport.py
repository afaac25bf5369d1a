"""Calls to one Airflow: its client behind threads of their own, the token, and what an error means."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar

import urllib3

from mlpipeline_operator.airflow.tokens import Token, read_token
from mlpipeline_operator.errors import NotReadyError, OperatorError, SpecError, TransientError

__all__ = ["UNAUTHORIZED", "Answer", "Transport"]

UNAUTHORIZED: Final = "AirflowUnauthorized"
"""Reason of the error when Airflow refuses the user's name or password."""

T = TypeVar("T")

_CONNECT_TIMEOUT: Final = 3.0
_DETAIL_LIMIT: Final = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """What Airflow answered.

    Attributes:
        body: The parsed JSON (None where there is none); for a streamed answer, the text that was kept.
        date: Airflow's own clock when it answered.
    """

    status: int
    body: Any
    date: datetime | None


class Transport:
    """Sends calls to one Airflow.

    The client is synchronous, so each Airflow has a small thread pool of its own: one that answers slowly
    holds up nobody else. The client is imported at the first call: it costs 24 MB and a second or two.

    Args:
        url: Airflow's address, without ``/api``.
        username: Who to log in as.
        password: Their password.
        token: A token that is ready for use, instead of these two.
        ca: Certificates to trust, in PEM; the system's if None.
        verify_tls: Whether to look at certificates at all.
        timeout: Seconds to wait for an answer; connecting is given 3 s at most.
        threads: Calls in flight at the same time.
    """

    def __init__(
        self,
        url: str,
        username: str,
        password: str,
        *,
        token: str | None = None,
        ca: str | None = None,
        verify_tls: bool = True,
        timeout: float = 10.0,
        threads: int = 2,
    ) -> None:
        self.url = url.rstrip("/")
        self.requests: Counter[str] = Counter()
        self._credentials = {"username": username, "password": password}
        self._fixed_token = Token(token, 0.0, float("inf")) if token else None
        self._ca, self._verify_tls = ca, verify_tls
        self._timeout = (min(_CONNECT_TIMEOUT, timeout), timeout)
        self._deadline = 3 * timeout
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="airflow")
        self._lock = threading.RLock()
        self._client: Any = None
        self._closed = False
        self._token: Token | None = None

    async def call(
        self,
        api: str,
        operation: str,
        *args: Any,
        also: Collection[int] = (),
        read: Callable[[urllib3.BaseHTTPResponse], Any] | None = None,
        anonymous: bool = False,
        **kwargs: Any,
    ) -> Answer:
        """Call one operation of Airflow's client and return its answer as plain JSON.

        Args:
            api: Class of the client that has the operation, such as ``DagRunApi``.
            operation: Its method.
            *args: Its positional arguments. A callable is called with the client's package and gives the
                argument: so a caller can use a model of the client without importing it.
            also: Statuses that are answers too, besides 2xx.
            read: Reads the body of a 2xx answer instead of parsing it as JSON.
            anonymous: Do not log in for it.
            **kwargs: Its named arguments.

        Raises:
            TransientError: No answer, or one that is expected to pass (429, 5xx, 409).
            NotReadyError: Airflow does not let us in, or does not know what was asked for.
            SpecError: Airflow refuses the request itself.
        """
        if self._client is None:
            await self._in_thread(self._load)
        try:
            async with asyncio.timeout(self._deadline):
                return await self._in_thread(
                    lambda: self._send(api, operation, args, kwargs, frozenset(also), read, anonymous)
                )
        except TimeoutError as error:
            raise TransientError(
                f"Airflow at {self.url} did not answer {operation} within {self._deadline:g} s.",
                reason="AirflowTimeout",
            ) from error

    async def close(self) -> None:
        """Take no more calls, and drop the connections. A call in flight ends by its timeout."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            self._client.rest_client.pool_manager.clear()

    async def _in_thread(self, function: Callable[[], T]) -> T:
        closed = TransientError(f"The connection to Airflow at {self.url} is closed.", reason="AirflowClosed")
        if self._closed:
            raise closed
        future = asyncio.get_running_loop().run_in_executor(self._pool, function)
        try:
            return await future
        except asyncio.CancelledError:
            task = asyncio.current_task()
            # Closing the pool cancels what waits in it; who waits for that is not cancelled himself.
            if self._closed and task is not None and not task.cancelling():
                raise closed from None
            raise

    def _send(
        self,
        api: str,
        operation: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        also: frozenset[int],
        read: Callable[[urllib3.BaseHTTPResponse], Any] | None,
        anonymous: bool,
    ) -> Answer:
        package, client = self._load()
        method = getattr(getattr(package, api)(client), f"{operation}_without_preload_content")
        arguments = [arg(package) if callable(arg) else arg for arg in args]
        try:
            token = None if anonymous else self._log_in()
            self.requests[operation] += 1
            response = method(*arguments, _request_timeout=self._timeout, **kwargs)
            # Airflow answers 401 to a token that has ended, and 403 to one signed with an earlier key.
            if token and response.status in (401, 403) and self._renewed(token, response.status):
                response.drain_conn()
                response.release_conn()
                self.requests[operation] += 1
                response = method(*arguments, _request_timeout=self._timeout, **kwargs)
            return self._answer(operation, response, also, read)
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(operation, error) from error
        except package.ApiException as error:
            # The client wraps only TLS errors this way.
            raise NotReadyError(
                f"Airflow at {self.url} cannot be trusted: {error.reason}", reason="AirflowTLS"
            ) from error

    def _answer(
        self,
        operation: str,
        response: urllib3.BaseHTTPResponse,
        also: frozenset[int],
        read: Callable[[urllib3.BaseHTTPResponse], Any] | None,
    ) -> Answer:
        date = _http_date(response.headers.get("Date"))
        if read is not None and 200 <= response.status < 300:
            try:
                return Answer(response.status, read(response), date)
            finally:
                response.close()
        data = response.data
        response.release_conn()
        body: Any = None
        try:
            body = json.loads(data) if data else None
        except ValueError as error:
            if 200 <= response.status < 300:
                raise NotReadyError(
                    f"What answers at {self.url} is not Airflow's API: {operation} did not return JSON.",
                    reason="AirflowUnexpectedAnswer",
                ) from error
            body = data.decode(errors="replace")
        if 200 <= response.status < 300 or response.status in also:
            return Answer(response.status, body, date)
        raise self._refused(operation, response.status, body, response.headers.get("Retry-After"))

    def _load(self) -> tuple[Any, Any]:
        import airflow_client.client as package

        with self._lock:
            if self._client is None:
                self._client = package.ApiClient(
                    package.Configuration(
                        host=self.url,
                        # urllib3's own three tries would treble the timeout; the poller tries again anyway.
                        retries=urllib3.Retry(total=False),
                        connection_pool_maxsize=self._threads,
                        ca_cert_data=self._ca,
                        verify_ssl=self._verify_tls,
                    )
                )
            return package, self._client

    def _log_in(self) -> Token:
        """The token to use now, a new one if it is about to end."""
        with self._lock:
            if self._fixed_token is not None:
                self._client.configuration.access_token = self._fixed_token.value
                return self._fixed_token
            if self._token is None or self._token.due():
                self._token = None
                self.requests["login"] += 1
                # Not in the client: each auth manager of Airflow brings this route itself, outside /api/v2.
                response = self._client.rest_client.request(
                    "POST",
                    f"{self.url}/auth/token",
                    headers={"Content-Type": "application/json", "Accept": "application/json"},
                    body=self._credentials,
                    _request_timeout=self._timeout,
                ).response
                self._token = read_token(self._answer("login", response, frozenset(), None).body, self.url)
                self._client.configuration.access_token = self._token.value
            return self._token

    def _renewed(self, used: Token, status: int) -> bool:
        """Whether there is another token than the one that was refused with ``status``."""
        if used is self._fixed_token:
            return False
        with self._lock:
            if self._token is used:
                if status == 403 and used.fresh():
                    return False
                self._token = None
            return self._log_in() is not used

    def _unreachable(self, operation: str, error: Exception) -> TransientError:
        cause = getattr(error, "reason", None) or error
        # Connection refused is a kind of timeout to urllib3.
        if isinstance(cause, urllib3.exceptions.TimeoutError) and not isinstance(
            cause, urllib3.exceptions.NewConnectionError
        ):
            return TransientError(
                f"Airflow at {self.url} did not answer {operation} in time.", reason="AirflowTimeout"
            )
        return TransientError(
            f"Airflow at {self.url} cannot be reached: {cause}.", reason="AirflowUnreachable"
        )

    def _refused(self, operation: str, status: int, body: Any, retry_after: str | None) -> OperatorError:
        detail = body.get("detail", body) if isinstance(body, dict) else body
        text = (detail if isinstance(detail, str) else json.dumps(detail))[:_DETAIL_LIMIT]
        message = f"Airflow at {self.url} answered {operation} with {status}: {text}"
        if status == 401:
            return NotReadyError(message, reason=UNAUTHORIZED)
        if status == 403:
            return NotReadyError(message, reason="AirflowForbidden")
        if status == 404:
            return NotReadyError(message, reason="AirflowNotFound")
        if status in (408, 409, 425, 429) or status >= 500:
            return TransientError(message, reason="AirflowBusy", retry_after=_seconds(retry_after))
        if 300 <= status < 400:
            return NotReadyError(f"{message} (a redirect: is the URL right?)", reason="AirflowRedirects")
        return SpecError(message, reason="AirflowRefused")


def _http_date(value: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(value).astimezone(UTC) if value else None
    except ValueError:
        return None


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after and retry_after.isdigit() else None
