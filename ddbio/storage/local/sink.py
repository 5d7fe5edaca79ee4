"""A folder of the local file system as a destination.

Every call into the file system runs in the executor that is passed in, one call for each block.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Container, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from itertools import filterfalse
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import aiofiles

from ddbio.errors import PreflightError
from ddbio.names import part_name
from ddbio.storage.base import JOURNAL, LOCK, PROBE, OutputFile, Sink, StoredFile
from ddbio.storage.local import disk
from ddbio.storage.local.disk import translated_errors
from ddbio.storage.local.lock import ORPHAN_SECONDS, FileLock, hold_folder
from ddbio.storage.steps import Steps
from ddbio.storage.tokens import LocalToken, Token

if TYPE_CHECKING:
    from aiofiles.threadpool.binary import AsyncBufferedIOBase

T = TypeVar("T")


class LocalSink(Sink):
    """Files in a folder, which is created if it does not exist.

    An unfinished file is `<name>.<run>.part`, so `run` must differ from that of any other job. Only the owner may read
    journals, and the folders that a `private` sink creates; folders that stay empty are removed again.
    """

    def __init__(
        self,
        folder: str | Path,
        run: str,
        *,
        executor: Executor,
        private: bool = False,
        orphan_seconds: float = ORPHAN_SECONDS,
    ) -> None:
        self._folder = Path(folder)
        self._run = run
        self.executor = executor
        self.folders = disk.Folders(self._folder, private=private)
        self._orphan_seconds = orphan_seconds
        self._lock: FileLock | None = None
        self.unsealed: set[LocalOutputFile] = set()

    @property
    def location(self) -> str:
        return str(self._folder)

    async def __aexit__(self, *exc: object) -> None:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.call, self.folders.remove_made)
            for file in self.unsealed:
                stack.push_async_callback(file.discard)

    async def check(self, expected_bytes: int | None) -> list[str]:
        with translated_errors("write to", self._folder, PreflightError):
            free = await self.call(self._probe)
        if expected_bytes is None or free >= expected_bytes:
            return []
        return [f"{self._folder} has {free:,} bytes free; about {expected_bytes:,} are expected to be written."]

    async def create(self, name: str, *, max_bytes: int) -> LocalOutputFile:  # noqa: ARG002 (a file needs no plan)
        final = await self._at(name, "create", lambda path: path)
        file = LocalOutputFile(self, name, final, self._part_of(final))
        self.unsealed.add(file)
        await file.open()
        return file

    async def put(self, name: str, data: bytes) -> None:
        with translated_errors("write", self._folder / name):
            await self._change(lambda: self._put(name, data))

    async def get(self, name: str, *, most: int | None = None) -> bytes | None:
        return await self._at(name, "read", lambda path: disk.read(path, most))

    async def list(self, prefix: str = "") -> list[StoredFile]:
        with translated_errors("list", self._folder):
            return await self.call(lambda: sorted(disk.walk(self._folder, prefix)))

    async def foreign_input(self, is_mine: Callable[[str], bool]) -> str | None:
        with translated_errors("look into", self._folder):
            return await self.call(lambda: next(filterfalse(is_mine, disk.input_below(self._folder)), None))

    async def delete(self, *names: str) -> None:
        with translated_errors("delete files in", self._folder):
            await self._change(lambda: disk.remove(self._folder, names))

    async def recover(self, name: str, size: int, token: Token | None) -> bool:
        if not isinstance(token, LocalToken):
            return False
        part = token.part
        with translated_errors("name", self._folder / name):
            return await self._change(lambda: disk.seal_at(disk.inside(self._folder, name), part, size))

    async def sweep(self, owns: Callable[[str], bool], keep: Container[str]) -> Sequence[str]:
        with translated_errors("clear", self._folder):
            return await self._change(lambda: disk.sweep(self._folder, owns, keep))

    def lock(self, run: str) -> AbstractAsyncContextManager[int]:
        """An flock on `_ddbio/lock`. Once that file is gone, this sink no longer puts, deletes, recovers or sweeps."""
        self._lock = FileLock(self._folder / LOCK, run, self._make_lock_folder)
        return hold_folder(self._lock, self.executor, self._orphan_seconds)

    async def call(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.executor, function)

    async def _change(self, function: Callable[[], T]) -> T:
        """Make a change that only the holder of the lock may make."""

        def unless_lost() -> T:
            if self._lock is not None:
                self._lock.refuse_if_lost()
            return function()

        return await self.call(unless_lost)

    async def _at(self, name: str, action: str, function: Callable[[Path], T]) -> T:
        with translated_errors(action, self._folder / name):
            return await self.call(lambda: function(disk.inside(self._folder, name)))

    def _part_of(self, final: Path) -> Path:
        return final.with_name(part_name(final.name, self._run))

    def _make_lock_folder(self) -> None:
        self.folders.make(disk.inside(self._folder, LOCK).parent)

    def _probe(self) -> int:
        probe = self._part_of(disk.inside(self._folder, PROBE))
        try:
            self.folders.make(probe.parent)
            try:
                disk.write(probe, bytes(4096))
            finally:
                probe.unlink(missing_ok=True)
            return shutil.disk_usage(self._folder).free
        except OSError:
            self.folders.remove_made()
            raise

    def _put(self, name: str, data: bytes) -> None:
        path = disk.inside(self._folder, name)
        self.folders.make(path.parent)
        disk.put(path, self._part_of(path), data, private=name.startswith(JOURNAL))


class LocalOutputFile(OutputFile):
    """One output file, called `<name>.<run>.part` until it is sealed."""

    def __init__(self, sink: LocalSink, name: str, final: Path, part: Path) -> None:
        self.name = name
        self._sink = sink
        self._final = final
        self._part = part
        self._steps = Steps()
        self._handle: AsyncBufferedIOBase | None = None
        self._size = 0
        self._durable = 0
        self._name_is_durable = False
        self._sealed = False

    @property
    def resume_token(self) -> LocalToken:
        return LocalToken(self._part.name)

    async def open(self) -> None:
        with translated_errors("create", self._part):
            await self._steps.run(self._create())

    async def write(self, block: bytes) -> None:
        with translated_errors("write", self._part):
            await self._steps.run(self._opened.write(block))
        self._size += len(block)

    async def sync(self) -> int:
        if self._durable < self._size:
            await self._flush(disk.sync_data)
        return self._durable

    async def finish(self) -> int:
        if self._handle is not None:
            await self._flush(os.fsync)
            with translated_errors("close", self._part):
                await self._steps.run(self._close())
        return self._size

    async def seal(self) -> None:
        if not self._sealed:
            await self.finish()
            with translated_errors("name", self._final):
                await self._steps.run(self._rename())

    async def discard(self) -> None:
        await self._steps.settle()
        if self._sealed:
            return
        with suppress(OSError):  # what could not be written is no longer wanted
            await self._steps.run(self._close())
        with translated_errors("remove", self._part):
            await self._steps.run(self._sink.call(lambda: self._part.unlink(missing_ok=True)))
        self._sink.unsealed.discard(self)

    async def leave(self) -> None:
        await self._steps.settle()
        with suppress(OSError):  # what is durable stays so
            await self._steps.run(self._close())
        self._sink.unsealed.discard(self)

    @property
    def _opened(self) -> AsyncBufferedIOBase:
        if self._handle is None:
            raise ValueError(f"{self.name} is finished or discarded: it takes no more blocks")
        return self._handle

    async def _create(self) -> None:
        await self._sink.call(lambda: self._sink.folders.make(self._part.parent))
        opener = disk.opener(private=self.name.startswith(JOURNAL))
        self._handle = await aiofiles.open(self._part, "wb", opener=opener, executor=self._sink.executor)

    async def _flush(self, to_disk: Callable[[int], None]) -> None:
        handle, size = self._opened, self._size
        with translated_errors("write", self._part):
            await self._steps.run(handle.flush())
            await self._steps.run(self._sink.call(lambda: self._make_durable(handle.fileno(), to_disk)))
        self._durable = size

    def _make_durable(self, descriptor: int, to_disk: Callable[[int], None]) -> None:
        to_disk(descriptor)
        if not self._name_is_durable:
            disk.sync_folder(self._part.parent)
            self._name_is_durable = True

    async def _close(self) -> None:
        if self._handle is not None:
            handle, self._handle = self._handle, None
            await handle.close()

    async def _rename(self) -> None:
        await self._sink.call(lambda: disk.publish(self._part, self._final))
        self._sealed = True
        self._sink.unsealed.discard(self)
