"""One job, one writer, in a local folder: a lock that the kernel frees when its holder is gone, however it went."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec

from ddbio.errors import JobLockedError, PreflightError
from ddbio.storage.holder import is_gone, locked, read, this_process
from ddbio.storage.local_disk import edge
from ddbio.storage.steps import Steps

ORPHAN_SECONDS = 5.0
"""So long a job waits for the workers of one that is gone: they stop as soon as they notice."""
RETRY_SECONDS = 0.05
_ATTEMPTS = 10
"""A file that its holder removes in the instant in which it is opened locks nothing: the next one is tried."""
_HINT = "Wait until that job has ended, or stop it; then run again."


@asynccontextmanager
async def hold_folder(path: Path, run: str, make_folder: Callable[[], None], executor: Executor) -> AsyncIterator[int]:
    """Hold the lock that the file at `path` stands for; yields and raises as `Sink.lock` says."""
    loop, steps, lock = asyncio.get_running_loop(), Steps(), _FileLock(path, run, make_folder)
    give_up = loop.time() + ORPHAN_SECONDS
    try:
        with edge("lock", path, PreflightError):
            while True:
                try:
                    yielded = await steps.run(loop.run_in_executor(executor, lock.take))
                    break
                except JobLockedError:
                    if not lock.orphaned or loop.time() >= give_up:
                        raise
                await asyncio.sleep(RETRY_SECONDS)
        yield yielded
    finally:
        await steps.settle()
        await loop.run_in_executor(executor, lock.release)


class _FileLock:
    """An flock on a file that is there only while it is held. All calls block."""

    def __init__(self, path: Path, run: str, make_folder: Callable[[], None]) -> None:
        self._path = path
        self._run = run
        self._make_folder = make_folder
        self._descriptor: int | None = None
        self.orphaned = False
        """Whether the job that has the lock is gone, and only its workers are left."""

    def take(self) -> int:
        """Take the lock, return its descriptor; raises OSError, or JobLockedError where another process has it."""
        for _ in range(_ATTEMPTS):
            with suppress(FileNotFoundError):
                self._make_folder()
                if (descriptor := self._try()) is not None:
                    return descriptor
        raise locked(self._path.parent.parent, None, _HINT)

    def release(self) -> None:
        """Give the lock back, if it was taken."""
        if self._descriptor is not None:
            with suppress(OSError):  # a file that stays locks nothing
                self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None

    def _try(self) -> int | None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = read(os.pread(descriptor, 4096, 0))
                self.orphaned = holder is not None and is_gone(holder)
                raise locked(self._path.parent.parent, holder, _HINT) from None
            if os.path.samestat(os.fstat(descriptor), self._path.stat()):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, msgspec.json.encode(this_process(self._run)), 0)
                self._descriptor, descriptor = descriptor, -1
                return self._descriptor
            return None
        finally:
            if descriptor >= 0:
                os.close(descriptor)
