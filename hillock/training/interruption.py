"""Ctrl-C and SIGTERM as a request: the step under way is finished and a checkpoint written before the process goes."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

__all__ = ["Request", "listening"]


class Request:
    """Whether somebody asked to stop, and with which signal."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def leave(self) -> None:
        """End as the signal would have: KeyboardInterrupt for Ctrl-C, else exit code 128 + signal."""
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + (self.signal or signal.SIGTERM))


@contextlib.contextmanager
def listening() -> Iterator[Request]:
    """Turn the first Ctrl-C or SIGTERM into a request; a second one acts at once, as without hillock.

    Only the main thread may do this; elsewhere signals stay as they are.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before: dict[int, Any] = {}

    def note(number: int, frame: FrameType | None) -> None:
        request.signal = number
        signal.signal(number, before[number])

    for number in (int(signal.SIGINT), int(signal.SIGTERM)):
        before[number] = signal.getsignal(number)
        signal.signal(number, note)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
