"""A crew of worker processes: jobs in, events out; the dead are replaced, and none outlives the study."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

__all__ = ["work"]

# A worker that was killed (out of memory, by hand) is replaced and its job tried again, this often for one job.
_TRIES_AGAIN = 1
_SECONDS_TO_STOP = 30.0

Event = dict[str, Any]


def work(
    jobs: Sequence[Mapping[str, Any]], address: str, *, workers: int, threads: int, log: Path | None
) -> Iterator[tuple[int, Event]]:
    """Hand the jobs, in order, to worker processes that run the function at `address`; yield (job, event) as they come.

    Events are those of `worker.py`: `{"event": "epoch", ...}`, `{"event": "done", "result": ...}` and
    `{"event": "problem", "kind": ..., "sentence": ..., "traceback": ...}`. Each worker computes with `threads` threads.
    A worker that dies is replaced and its job handed out once more; should it die again, that is a problem of the
    kind `crash`. When the caller stops listening, for whatever reason, idle workers leave at once and busy ones get a
    SIGTERM and half a minute to save.
    """
    waiting, deaths = deque(range(len(jobs))), Counter[int]()
    events: queue.Queue[tuple[_Worker, Event | None]] = queue.Queue()
    unfinished = len(jobs)
    with _crew() as crew:
        crew.extend(_Worker(address, threads, events, log) for _ in range(workers))
        while unfinished:
            worker, event = events.get()
            job = worker.job
            if event is None:
                crew.remove(worker)
                worker.dismiss()
                worker.wait()
                if job is None or deaths[job] == _TRIES_AGAIN:
                    yield waiting[0] if job is None else job, _death(worker, log)
                    return
                deaths[job] += 1
                waiting.appendleft(job)
                crew.append(_Worker(address, threads, events, log))
            elif event["event"] == "epoch":
                assert job is not None
                yield job, event
            else:  # ready, done or problem: free for the next job
                worker.job = None
                if waiting:
                    worker.hand(waiting[0], jobs[waiting.popleft()])
                if job is not None:
                    unfinished -= 1
                    yield job, event


def _death(worker: _Worker, log: Path | None) -> Event:
    moment = "while starting" if worker.job is None else "in the middle of the run"
    sentence = f"a worker process ended with code {worker.process.wait()} {moment}: killed, or out of memory"
    printed = log.read_text(encoding="utf-8", errors="replace") if log is not None else ""
    return {"event": "problem", "kind": "crash", "sentence": sentence, "traceback": printed}


def _environment(threads: int) -> dict[str, str]:
    """Return a worker's environment: so many threads, and everything importable that is importable here."""
    limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    return {**os.environ, **limits, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}


class _Worker:
    """A worker process, the number of the job that it is at, and a thread that listens to it."""

    def __init__(
        self, address: str, threads: int, events: queue.Queue[tuple[_Worker, Event | None]], log: Path | None
    ) -> None:
        self.job: int | None = None
        printed: IO[str] | int = subprocess.DEVNULL if log is None else log.open("a", encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hillock.comparison.worker", address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=printed,
            text=True,
            env=_environment(threads),
            start_new_session=True,  # Ctrl-C in the terminal reaches the caller alone, who then stops the workers
        )
        if not isinstance(printed, int):
            printed.close()
        self.listener = threading.Thread(target=self._listen, args=(events,), daemon=True)
        self.listener.start()

    def _listen(self, events: queue.Queue[tuple[_Worker, Event | None]]) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                events.put((self, json.loads(line)))
        events.put((self, None))

    def hand(self, number: int, job: Mapping[str, Any]) -> None:
        """Give the worker its next job."""
        self.job = number
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died a moment ago; its end is among the events
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()

    def dismiss(self) -> None:
        """Tell the worker that there is nothing more to do; a busy one is told to save and stop."""
        if self.job is not None:
            self.process.terminate()
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def wait(self) -> None:
        """Wait until the process and the thread that listens to it have ended."""
        try:
            self.process.wait(_SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.listener.join()


@contextlib.contextmanager
def _crew() -> Iterator[list[_Worker]]:
    """Hold the workers and see to it that none outlives the study: idle ones leave, busy ones save and stop."""
    crew: list[_Worker] = []
    try:
        yield crew
    finally:
        for worker in crew:
            worker.dismiss()
        for worker in crew:
            worker.wait()
