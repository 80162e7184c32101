"""A few threads that share the work on one batch of large pictures."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

__all__ = ["Workers"]

# Bytes below which a batch is cut by one thread: waking others costs about 50 us, copying a MiB about 200.
WORTH_SHARING = 1 << 20


class Workers:
    """Runs a function over slices of a batch, in threads when the batch is large.

    NumPy releases Python's lock while it copies. Each thread has a stretch of pictures to itself and the
    only waiting is at the end, so a busy machine slows this down no more than it must (torch's own threads wait for
    each other after every operation).
    """

    def __init__(self) -> None:
        self._threads = max(1, min(8, len(os.sched_getaffinity(0))))
        self._pool: ThreadPoolExecutor | None = None

    def each(self, count: int, item_bytes: int, function: Callable[[slice], None]) -> None:
        """Call `function` with slices that together cover `range(count)`, each item of `item_bytes` bytes."""
        if self._threads == 1 or count * item_bytes < WORTH_SHARING:
            function(slice(0, count))
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="hillock-batch")
        # Two slices a thread even out what the machine takes away from one of them.
        parts = min(count, 2 * self._threads)
        bounds = [count * part // parts for part in range(parts + 1)]
        for future in [self._pool.submit(function, slice(*pair)) for pair in itertools.pairwise(bounds)]:
            future.result()
