"""A worker process: trains what it is handed, one run after the other, and says how it goes.

Started by the engine as `python -m hillock.comparison.worker MODULE:FUNCTION`. It reads one JSON task a line from
standard input and writes JSON events, one a line, to what was its standard output; anything that libraries print goes
to standard error. A process of its own for each worker, and no `multiprocessing`: a crash takes one run and not the
study, and the caller's script is not imported again.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from hillock.errors import HillockError, UsageError

__all__ = ["main"]

_SIGNAL_WHEN_PARENT_DIES = 1  # PR_SET_PDEATHSIG of Linux's <sys/prctl.h>


def main(address: str) -> None:
    """Work until standard input ends."""
    events = _take_standard_output()
    _die_with_parent()
    module, _, function = address.partition(":")
    from hillock.training.allocator import keep_memory
    from hillock.training.recipe import Recipe

    keep_memory()
    runner: Callable[..., dict[str, Any]] = getattr(importlib.import_module(module), function)

    def say(**event: Any) -> None:
        events.write(json.dumps(event) + "\n")
        events.flush()

    say(event="ready")
    for task in _tasks():
        try:
            result = runner(
                Recipe(**task["recipe"]), Path(task["folder"]), lambda epoch: say(event="epoch", epoch=epoch)
            )
        except KeyboardInterrupt:
            return
        except BaseException as problem:
            say(event="problem", **described(problem))
        else:
            say(event="done", result=result)


def described(problem: BaseException) -> dict[str, Any]:
    """Return what the engine must know about an exception: its kind, its sentence, its traceback.

    `usage`: the study cannot be run as asked. `crash`: anything else. Neither is evidence about an activation.
    """
    text = "".join(traceback.format_exception(problem))
    if isinstance(problem, UsageError):
        parts = {"expected": problem.expected, "got": problem.got, "instead": problem.instead}
        return {"kind": "usage", "sentence": str(problem), "traceback": text, **parts}
    sentence = str(problem) if isinstance(problem, HillockError) else f"{type(problem).__name__}: {problem}"
    return {"kind": "crash", "sentence": sentence, "traceback": text}


def _take_standard_output() -> TextIO:
    """Keep standard output for events; whatever else is printed goes to standard error."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return events


def _tasks() -> Any:
    """Yield tasks. Should the engine vanish while one is being trained, stop this process in an orderly way."""
    waiting: queue.Queue[dict[str, Any] | None] = queue.Queue()
    busy = threading.Event()

    def read() -> None:
        for line in sys.stdin:
            waiting.put(json.loads(line))
        waiting.put(None)
        if busy.is_set():
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=read, daemon=True).start()
    while (task := waiting.get()) is not None:
        busy.set()
        yield task
        busy.clear()


def _die_with_parent() -> None:
    """Ask Linux for a SIGTERM when the engine is killed; elsewhere the end of standard input must do."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_SIGNAL_WHEN_PARENT_DIES, signal.SIGTERM)


if __name__ == "__main__":
    main(sys.argv[1])
