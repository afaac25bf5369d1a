"""The end of a task's log, from lines as Airflow 3.3.2 streams them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mlpipeline_operator.airflow import logs

RECORDED = (
    b'{"timestamp":"2026-11-22T19:13:23.864218Z","event":"hello from the training","level":"info",'
    b'"logger":"task.stdout"}\n'
    b'{"timestamp":"2026-11-22T19:13:23.886518Z","event":"Task failed with exception","level":"error",'
    b'"error_detail":[{"exc_type":"RuntimeError","exc_value":"the loss became NaN","exc_notes":[],'
    b'"frames":[]}]}\n'
)


class Stream:
    def __init__(self, *chunks: bytes) -> None:
        self.chunks = chunks

    def stream(self, size: int) -> Iterator[bytes]:
        yield from self.chunks


def tail(*chunks: bytes, lines: int = 100) -> tuple[str, ...]:
    return logs.log_tail(Stream(*chunks), lines)  # type: ignore[arg-type]


def test_events_are_lines_and_an_exception_is_named() -> None:
    assert tail(RECORDED) == (
        "hello from the training",
        "Task failed with exception",
        "RuntimeError: the loss became NaN",
    )


def test_lines_may_be_cut_anywhere() -> None:
    assert tail(*(RECORDED[i : i + 7] for i in range(0, len(RECORDED), 7))) == tail(RECORDED)


def test_what_is_not_json_is_kept_as_it_is() -> None:
    assert tail(b"plain text\n\n[1]\n", b"the last one has no end") == (
        "plain text",
        "[1]",
        "the last one has no end",
    )


def test_a_log_without_end_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_LOG_BYTES", 1000)
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b"x" * 100 + b"\n"

    stream = Stream()
    stream.stream = lambda size: endless()  # type: ignore[method-assign]
    assert logs.log_tail(stream, 2) == ("x" * 100, "x" * 100)  # type: ignore[arg-type]
    assert read < 12
