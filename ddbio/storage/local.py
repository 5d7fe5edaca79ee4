"""A folder of the local file system as a destination.

Every call into the file system runs in the executor that is handed in, one call a block.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import aiofiles

from ddbio.errors import DestinationError, PreflightError
from ddbio.storage.base import OutputFile, Sink, StoredFile
from ddbio.storage.steps import Steps

if TYPE_CHECKING:
    from aiofiles.threadpool.binary import AsyncBufferedIOBase

T = TypeVar("T")

_sync_data: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)

_NO_ROOM = "Free some space there, or choose another destination."
_FORBIDDEN = "Check the permissions there, or choose another destination."
_NOT_A_FOLDER = "A file stands where a folder is needed, or a folder where a file is: choose another destination."
_HINTS = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: "The file system is read-only: choose another destination.",
    errno.ENOTDIR: _NOT_A_FOLDER,
    errno.EISDIR: _NOT_A_FOLDER,
    errno.EEXIST: _NOT_A_FOLDER,
    errno.EFBIG: "The file system or `ulimit -f` does not allow files that large: lower the file size.",
    errno.EMFILE: "Raise the limit of open files (`ulimit -n`), or lower the concurrency.",
    errno.ENAMETOOLONG: "Choose a destination with a shorter name.",
}


@contextmanager
def _edge(
    action: str, path: Path, error_type: type[DestinationError | PreflightError] = DestinationError
) -> Iterator[None]:
    """Turn what the file system says into what a person can act on."""
    try:
        yield
    except OSError as error:
        said = error.strerror or type(error).__name__
        hint = _HINTS.get(error.errno or 0, "Check the disk or mount, or choose another destination.")
        raise error_type(f"Could not {action} {path}: {said}.", hint=hint) from error


class LocalSink(Sink):
    """Files in a folder, made when it is missing.

    An unfinished file is `<name>.<run>.part`, so `run` must be unlike that of any other job. Folders that were made
    here and are still empty at the end are removed again.
    """

    def __init__(self, folder: str | Path, run: str, *, executor: Executor) -> None:
        self._folder = Path(folder)
        self._run = run
        self.executor = executor
        self._made: list[Path] = []
        self._open: set[LocalOutputFile] = set()

    @property
    def location(self) -> str:
        return str(self._folder)

    async def __aenter__(self) -> LocalSink:
        return self

    async def __aexit__(self, *exc: object) -> None:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.call, self._remove_made)
            for file in self._open:
                stack.push_async_callback(file.discard)

    async def check(self, expected_bytes: int | None) -> list[str]:
        with _edge("write to", self._folder, PreflightError):
            free = await self.call(self._probe)
        if expected_bytes is None or free >= expected_bytes:
            return []
        return [f"{self._folder} has {free:,} bytes free; about {expected_bytes:,} are expected to be written."]

    async def create(self, name: str, *, max_bytes: int) -> LocalOutputFile:  # noqa: ARG002 (a file needs no plan)
        final = self._folder / name
        file = LocalOutputFile(self, name, final, self._part(final))
        self._open.add(file)
        await file.open()
        return file

    async def put(self, name: str, data: bytes) -> None:
        path = self._folder / name
        with _edge("write", path):
            await self.call(lambda: self._put(path, data))

    async def get(self, name: str) -> bytes | None:
        path = self._folder / name
        with _edge("read", path):
            try:
                return await self.call(path.read_bytes)
            except FileNotFoundError:
                return None

    async def list(self, prefix: str = "") -> list[StoredFile]:
        with _edge("list", self._folder):
            return await self.call(lambda: sorted(self._walk(prefix)))

    async def delete(self, name: str) -> None:
        path = self._folder / name
        with _edge("delete", path):
            await self.call(lambda: path.unlink(missing_ok=True))

    async def call(self, function: Callable[[], T]) -> T:
        """Run one blocking call in the sink's executor."""
        return await asyncio.get_running_loop().run_in_executor(self.executor, function)

    def forget(self, file: LocalOutputFile) -> None:
        """The file is sealed or discarded: nothing is left to do for it at the end."""
        self._open.discard(file)

    def make_folder(self, folder: Path) -> None:
        """Make `folder` and its parents, durably, and remember which of them are new (blocking)."""
        missing = []
        for path in (folder, *folder.parents):
            if path.exists():
                break
            missing.append(path)
        self._made.extend(reversed(missing))
        folder.mkdir(parents=True, exist_ok=True)
        for path in missing:
            sync_folder(path.parent)

    def _remove_made(self) -> None:
        for path in sorted(self._made, key=lambda path: len(path.parts), reverse=True):
            with suppress(OSError):  # not empty, or already gone
                path.rmdir()

    def _probe(self) -> int:
        probe = self._part(self._folder / ".ddbio-probe")
        try:
            self.make_folder(self._folder)
            try:
                _write_durably(probe, bytes(4096))
            finally:
                probe.unlink(missing_ok=True)
            return shutil.disk_usage(self._folder).free
        except OSError:
            self._remove_made()
            raise

    def _part(self, path: Path) -> Path:
        return path.with_name(f"{path.name}.{self._run}.part")

    def _put(self, path: Path, data: bytes) -> None:
        self.make_folder(path.parent)
        part = self._part(path)
        try:
            _write_durably(part, data)
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)

    def _walk(self, prefix: str) -> Iterator[StoredFile]:
        # Only the folder that the prefix lies in: the journal is listed often, beside many thousand files.
        start = self._folder / prefix.rpartition("/")[0]
        for folder, _, names in os.walk(start, onerror=_unless_missing):
            for name in names:
                path = Path(folder, name)
                relative = path.relative_to(self._folder).as_posix()
                if relative.startswith(prefix):
                    with suppress(FileNotFoundError):  # renamed or removed meanwhile
                        yield StoredFile(relative, path.stat().st_size)


class LocalOutputFile(OutputFile):
    """One file on its way: `<name>.<run>.part` until it is sealed."""

    def __init__(self, sink: LocalSink, name: str, final: Path, part: Path) -> None:
        self.name = name
        self._sink = sink
        self._final = final
        self._part = part
        self._steps = Steps()
        self._handle: AsyncBufferedIOBase | None = None
        self._size = 0
        self._durable = 0
        self._sealed = False

    async def open(self) -> None:
        """Make the folder and the `.part` file."""
        with _edge("create", self._part):
            await self._steps.run(self._create())

    async def write(self, block: bytes) -> None:
        with _edge("write", self._part):
            await self._steps.run(self._opened.write(block))
        self._size += len(block)

    async def sync(self) -> int:
        if self._durable < self._size:
            await self._flush(_sync_data)
        return self._durable

    async def finish(self) -> int:
        if self._handle is not None:
            await self._flush(os.fsync)
            with _edge("close", self._part):
                await self._steps.run(self._close())
        return self._size

    async def seal(self) -> None:
        if not self._sealed:
            await self.finish()
            with _edge("name", self._final):
                await self._steps.run(self._rename())

    async def discard(self) -> None:
        await self._steps.settle()
        if self._sealed:
            return
        with suppress(OSError):  # what could not be written is not wanted any more
            await self._steps.run(self._close())
        with _edge("remove", self._part):
            await self._steps.run(self._sink.call(lambda: self._part.unlink(missing_ok=True)))
        self._sink.forget(self)

    @property
    def _opened(self) -> AsyncBufferedIOBase:
        if self._handle is None:
            raise ValueError(f"{self.name} is finished or discarded: it takes no more blocks")
        return self._handle

    async def _create(self) -> None:
        await self._sink.call(lambda: self._sink.make_folder(self._part.parent))
        self._handle = await aiofiles.open(self._part, "wb", executor=self._sink.executor)

    async def _flush(self, to_disk: Callable[[int], None]) -> None:
        handle, size = self._opened, self._size
        with _edge("write", self._part):
            await self._steps.run(handle.flush())
            await self._steps.run(self._sink.call(lambda: to_disk(handle.fileno())))
        self._durable = size

    async def _close(self) -> None:
        if self._handle is not None:
            handle, self._handle = self._handle, None
            await handle.close()

    async def _rename(self) -> None:
        await self._sink.call(lambda: _publish(self._part, self._final))
        self._sealed = True
        self._sink.forget(self)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable (blocking)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _publish(part: Path, final: Path) -> None:
    part.replace(final)
    sync_folder(final.parent)


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
