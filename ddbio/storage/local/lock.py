"""The lock of a job in a local folder. The kernel frees it when its holder ends, however that happens."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ddbio.errors import JobLockedError, PreflightError
from ddbio.storage.holder import is_gone, locked, read, this_process
from ddbio.storage.local.disk import is_at, translated_errors
from ddbio.storage.steps import Steps, undisturbed

ORPHAN_SECONDS = 5.0
"""How long a job waits for the workers of one that has ended: they stop as soon as they notice."""
RETRY_SECONDS = 0.05
_ATTEMPTS = 10
"""A file that its holder removes just as it is opened locks nothing: the next one is tried."""
_HINT = "Wait until that job has ended, or stop it; then run again."
_LOST_HINT = (
    "If the folder was moved, put it back and resume; otherwise check that no other job writes there, and start over."
)


@asynccontextmanager
async def hold_folder(lock: FileLock, executor: Executor, orphan_seconds: float) -> AsyncIterator[int]:
    loop, steps = asyncio.get_running_loop(), Steps()
    give_up = loop.time() + orphan_seconds
    try:
        with translated_errors("lock", lock.path, PreflightError):
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
        # A job that is cancelled once more on its way out must not end while it still has the lock.
        await undisturbed(_release(lock, steps, executor))


async def _release(lock: FileLock, steps: Steps, executor: Executor) -> None:
    await steps.settle()
    await asyncio.get_running_loop().run_in_executor(executor, lock.release)


@dataclass
class FileLock:
    """An flock on the file at `path`, which exists only while the lock is held. All calls block."""

    path: Path
    run: str
    make_folder: Callable[[], None]
    orphaned: bool = False
    """Whether the job that holds the lock has ended, and only its workers are left."""
    _descriptor: int | None = None

    def take(self) -> int:
        """Take the lock, return its descriptor; raises OSError, or JobLockedError where another process holds it."""
        for _ in range(_ATTEMPTS):
            with suppress(FileNotFoundError):
                self.make_folder()
                if (descriptor := self._try()) is not None:
                    return descriptor
        raise locked(self.path.parent.parent, None, _HINT)

    def release(self) -> None:
        if self._descriptor is not None:
            with suppress(OSError):  # a file that is not locked does no harm
                if is_at(self.path, self._descriptor):
                    self.path.unlink()
            with suppress(OSError):  # it is closed even where NFS reports that what was written is lost
                os.close(self._descriptor)
            self._descriptor = None

    def refuse_if_lost(self) -> None:
        """Raise JobLockedError where the lock was taken, and its file has left its path: another job could begin there,
        or, if the folder was moved, a new one would receive what is written.
        """
        if self._descriptor is not None and not is_at(self.path, self._descriptor):
            raise JobLockedError(
                f"{self.path.parent.parent} was moved, removed or replaced while the job ran: its lock is gone.",
                hint=_LOST_HINT,
            )

    def _try(self) -> int | None:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = read(os.pread(descriptor, 4096, 0))
                self.orphaned = holder is not None and is_gone(holder)
                raise locked(self.path.parent.parent, holder, _HINT) from None
            if os.fstat(descriptor).st_nlink > 1:  # a hard link: its content is another file's too
                self.path.unlink(missing_ok=True)
            elif is_at(self.path, descriptor):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, msgspec.json.encode(this_process(self.run)), 0)
                self._descriptor, descriptor = descriptor, -1
                return self._descriptor
            return None
        finally:
            if descriptor >= 0:
                os.close(descriptor)
