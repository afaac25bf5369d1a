"""SIGTERM: the last word is written at once, the user's `finally` blocks run, and then the process ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from .errors import ExitCode, Terminated

# Kubernetes kills after 30 s by default.
GRACE_SECONDS = 20.0


@contextmanager
def on_sigterm(last_word: Callable[[], None], grace: float = GRACE_SECONDS) -> Iterator[None]:
    """While open, SIGTERM calls `last_word` from a thread, and raises `Terminated` in the main thread.

    Python runs its handlers in the main thread, once it is back from whatever C++ code it is in. That may
    take longer than the grace period, so a thread of its own is woken by the signal itself
    (`signal.set_wakeup_fd`): it writes the last word, and ends the process after `grace` seconds if the main
    thread has not.

    Must be used in the main thread. `last_word` may be called twice.
    """
    done = threading.Event()
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)

    def watch() -> None:
        while received := os.read(read_end, 1):
            if received[0] != signal.SIGTERM or done.is_set():
                continue
            last_word()
            if not done.wait(grace):
                os._exit(ExitCode.TERMINATED)

    def raise_terminated(number: int, frame: FrameType | None) -> None:
        # A second SIGTERM while the user's code cleans up must not interrupt that.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    def forget_in_child() -> None:
        # A forked worker (multiprocessing) shares the pipe: SIGTERM to it must not look like one to us.
        if not done.is_set() and os.getpid() != owner:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    owner = os.getpid()
    os.register_at_fork(after_in_child=forget_in_child)
    watcher = threading.Thread(target=watch, name="mlpipeline-sigterm", daemon=True)
    watcher.start()
    previous = signal.signal(signal.SIGTERM, raise_terminated)
    previous_fd = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    try:
        yield
    except Terminated:
        last_word()
        raise
    finally:
        done.set()
        signal.set_wakeup_fd(previous_fd)
        signal.signal(signal.SIGTERM, previous)
        os.close(write_end)
        watcher.join(timeout=1)
        os.close(read_end)
