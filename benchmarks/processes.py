"""One command run to its end: the CPU time and the memory of its whole process tree."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

SAMPLE_SECONDS = 0.02


@dataclass
class Peaks:
    """The most resident memory seen, in bytes: of the command, of any worker, of all at once."""

    command: int = 0
    worker: int = 0
    together: int = 0

    def note(self, command: int, workers: Sequence[int]) -> None:
        """Take a sample into account."""
        self.command = max(self.command, command)
        self.worker = max(self.worker, *workers, 0)
        self.together = max(self.together, command + sum(workers))


@dataclass(frozen=True)
class Outcome:
    """What a command took, in seconds, and what it wrote on standard output; `peaks` are zero unless watched."""

    cpu: float
    wall: float
    output: str
    peaks: Peaks


def run(
    command: Sequence[str], environment: Mapping[str, str], *, watch: bool = False, core: int | None = None
) -> Outcome:
    """Run a command, with `environment` added to one's own, on `core` (Linux) if one is given.

    `watch` samples its memory (Linux). Ends the benchmark where the command fails.
    """
    began = time.monotonic()
    with tempfile.TemporaryFile() as errors:
        with _on(core):
            process = subprocess.Popen(
                command,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert process.stdout is not None
        with _sampling(process.pid, watch) as peaks, process.stdout:
            output = process.stdout.read()
            # Its usage holds that of every descendant that was waited for (getrusage(2), RUSAGE_CHILDREN).
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}: {errors.read().decode()[-2000:]}")
    return Outcome(usage.ru_utime + usage.ru_stime, time.monotonic() - began, output, peaks)


@contextmanager
def _on(core: int | None) -> Iterator[None]:
    """Move this thread there while the block runs: a process that it starts stays."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _sampling(pid: int, watch: bool) -> Iterator[Peaks]:
    """Watch a process and its children while the block runs."""
    peaks, done = Peaks(), Event()

    def sample() -> None:
        while not done.wait(SAMPLE_SECONDS):
            peaks.note(resident(pid), [resident(child) for child in _children(pid)])

    thread = Thread(target=sample)
    if watch:
        thread.start()
    try:
        yield peaks
    finally:
        done.set()
        if watch:
            thread.join()


def resident(pid: int) -> int:
    """Resident bytes of a process, 0 when it is gone."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    lines = [line.split() for line in rollup.splitlines()]
    return next((int(words[1]) * 1024 for words in lines if words[0] == "Rss:"), 0)


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
