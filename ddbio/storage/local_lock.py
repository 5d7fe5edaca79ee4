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
from ddbio.storage.steps import Steps, undisturbed

ORPHAN_SECONDS = 5.0
"""So long a job waits for the workers of one that is gone: they stop as soon as they notice."""
RETRY_SECONDS = 0.05
_ATTEMPTS = 10
"""A file that its holder removes in the instant in which it is opened locks nothing: the next one is tried."""
_HINT = "Wait until that job has ended, or stop it; then run again."
_LOST_HINT = (
    "Where the folder was moved, put it back and resume; else see that no other job writes there, and begin anew."
)


@asynccontextmanager
async def hold_folder(lock: FileLock, executor: Executor) -> AsyncIterator[int]:
    """Hold a lock; yields and raises as `Sink.lock` says."""
    loop, steps = asyncio.get_running_loop(), Steps()
    give_up = loop.time() + ORPHAN_SECONDS
    try:
        with edge("lock", lock.path, PreflightError):
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
        # A job that is cancelled once more on its way out must not end before others can have the lock.
        await undisturbed(_release(lock, steps, executor))


async def _release(lock: FileLock, steps: Steps, executor: Executor) -> None:
    await steps.settle()
    await asyncio.get_running_loop().run_in_executor(executor, lock.release)


class FileLock:
    """An flock on the file at `path`, which is there only while it is held. All calls block."""

    def __init__(self, path: Path, run: str, make_folder: Callable[[], None]) -> None:
        self.path = path
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
        raise locked(self.path.parent.parent, None, _HINT)

    def release(self) -> None:
        """Give the lock back, if it was taken."""
        if self._descriptor is not None:
            with suppress(OSError):  # a file that stays locks nothing
                if self._is_at_path(self._descriptor):
                    self.path.unlink()
            with suppress(OSError):  # it is closed all the same, whatever is told of what was written to it (NFS)
                os.close(self._descriptor)
            self._descriptor = None

    def refuse_if_lost(self) -> None:
        """Raise JobLockedError where it was taken, and its file is not at its place any more.

        Another job can begin there then; and if the folder was moved, a new one would get what is still written.
        """
        if self._descriptor is not None and not self._is_at_path(self._descriptor):
            raise JobLockedError(
                f"{self.path.parent.parent} was moved, removed or replaced while the job ran: its lock is gone.",
                hint=_LOST_HINT,
            )

    def _is_at_path(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self.path.stat())
        except FileNotFoundError:
            return False

    def _try(self) -> int | None:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = read(os.pread(descriptor, 4096, 0))
                self.orphaned = holder is not None and is_gone(holder)
                raise locked(self.path.parent.parent, holder, _HINT) from None
            if os.fstat(descriptor).st_nlink > 1:  # a hard link: what is in it is another file's too
                self.path.unlink(missing_ok=True)
            elif self._is_at_path(descriptor):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, msgspec.json.encode(this_process(self._run)), 0)
                self._descriptor, descriptor = descriptor, -1
                return self._descriptor
            return None
        finally:
            if descriptor >= 0:
                os.close(descriptor)
