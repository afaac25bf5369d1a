"""Lists that Airflow gives page by page, and answers that turn out not to be Airflow's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from mlpipeline_operator.airflow.transport import Answer
from mlpipeline_operator.errors import NotReadyError

__all__ = ["Listing", "chunks", "parsed", "read_pages"]

T = TypeVar("T")

# Airflow's own bound (`[api] maximum_page_limit`); a lower one there only makes more pages.
_LIMIT: Final = 100


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """All pages of a list.

    Attributes:
        items: What was in them.
        asked_at: Airflow's clock at the first page.
    """

    items: list[T]
    asked_at: datetime | None


async def read_pages(
    send: Callable[[int, int], Awaitable[Answer]], items: str, parse: Callable[[Mapping[str, Any]], T]
) -> Listing[T]:
    """Turn the pages until all are read.

    Args:
        send: Asks for a page, by offset and limit.
        items: The field of the answer that holds the list.
        parse: Reads one item.

    Raises:
        NotReadyError: An answer is not a page.
    """
    answer = await send(0, _LIMIT)
    found, total = parsed(answer, lambda body: _page(body, items, parse))
    listing = Listing(found, answer.date)
    while found and len(listing.items) < total:
        answer = await send(len(listing.items), _LIMIT)
        found, total = parsed(answer, lambda body: _page(body, items, parse))
        listing.items.extend(found)
    return listing


def parsed(answer: Answer, parse: Callable[[Any], T]) -> T:
    """Read an answer's body.

    Raises:
        NotReadyError: It is not what Airflow 3 answers.
    """
    try:
        return parse(answer.body)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise NotReadyError(
            f"What Airflow answers is not what Airflow 3 does ({error!r}).", reason="AirflowUnexpectedAnswer"
        ) from error


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut ``items`` into pieces of ``size`` (the last may be shorter)."""
    return (items[start : start + size] for start in range(0, len(items), size))


def _page(
    body: Mapping[str, Any], items: str, parse: Callable[[Mapping[str, Any]], T]
) -> tuple[list[T], int]:
    return [parse(item) for item in body[items]], int(body["total_entries"])
