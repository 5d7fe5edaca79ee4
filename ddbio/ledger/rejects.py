"""The rejects file: one JSON line for each record that could not be written, durable before the job moves past it.

Jobs may append to the same file one after the other: each line names its run, and a job removes only its own.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec
from msgspec import UNSET, UnsetType

from ddbio.errors import DdbioError, DestinationError, PreflightError
from ddbio.ledger.entries import Reject
from ddbio.model import Reason, Refused
from ddbio.storage.local.disk import is_at, sync_folder
from ddbio.unreadable import UNREADABLE

MARK = b'{"ddbio_reject":'


class RejectLine(msgspec.Struct, kw_only=True):
    """A line of a rejects file. To take the record back, only its place and its content are needed."""

    ddbio_reject: Literal[1] = 1
    run: str | UnsetType = UNSET
    source: str
    offset: int
    length: int
    line: int | UnsetType | None = UNSET
    reason: str | UnsetType = UNSET
    message: str | UnsetType = UNSET
    raw: str | UnsetType | None = UNSET
    """The record; None where it is too long to be kept, absent where it is not UTF-8."""
    raw_base64: bytes | UnsetType = UNSET


def unwrap(line: bytes) -> bytes | Refused:
    """The record that a line of a rejects file holds, or why it holds none; any other line as it is."""
    while line.startswith(MARK):  # a reject without its record, imported and rejected again, is wrapped twice
        try:
            found = msgspec.json.decode(line, type=RejectLine)
        except UNREADABLE:
            return line
        if isinstance(found.raw, str):
            line = found.raw.encode()
        elif isinstance(found.raw_base64, bytes):
            line = found.raw_base64
        else:
            where = f"{found.source}, {found.length:,} bytes from byte {found.offset:,} on"
            return Refused(Reason.RAW_MISSING, 0, f"The rejects file does not hold this record: read it from {where}.")
    return line


class RejectsFile:
    """Appends the rejects of the job `run` to `path`, which the first one creates and locks until `close`."""

    def __init__(self, path: Path, run: str) -> None:
        self.path = path
        self._run = run
        self._begin = msgspec.json.encode({"ddbio_reject": 1, "run": run})[:-1] + b","
        self._size = 0
        self._file: BinaryIO | None = None

    @asynccontextmanager
    async def tried(self) -> AsyncIterator[None]:
        """Try the file for writing; raises PreflightError. What is created for that is removed after the block."""
        new = await asyncio.to_thread(self._missing)
        try:
            await self._change(self._try, PreflightError)
            yield
        finally:
            await asyncio.to_thread(self._remove_empty, new)

    async def add(self, rejects: Iterable[Reject]) -> int:
        """Write these rejects durably; raises DestinationError. Returns the size of the file up to the end of this
        job's last line: 0 before its first one.
        """
        lines = b"".join(_encode(reject, self._run) for reject in rejects)
        if lines:
            self._size = await self._change(lambda: self._append(lines))
        return self._size

    async def cut(self, size: int) -> None:
        """Remove this job's lines after the first `size` bytes: rejects whose commit did not become durable.

        Before lines of a later job, which stay where they are since its journal holds their offsets, they are blanked.
        """
        self._size = await self._change(lambda: self._cut(size))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    async def _change(self, change: Callable[[], int], kind: type[DdbioError] = DestinationError) -> int:
        try:
            return await asyncio.to_thread(change)
        except BlockingIOError as error:
            instead = "or give another file with --rejects" if kind is PreflightError else "and resume"
            hint = f"Wait for its end, {instead}."
            raise kind(f"Another job is writing to the rejects file {self.path}.", hint=hint) from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                hint = "Free some space there."
            elif kind is PreflightError:
                hint = "Give another place with --rejects or --state."
            else:  # a job that has begun keeps to its file
                hint = "See that it can be written again, and resume; or start over with another --rejects and --state."
            raise kind(f"The rejects file {self.path} can't be written: {error.strerror}.", hint=hint) from error

    def _missing(self) -> list[Path]:
        """The file and the folders above it that do not exist, the innermost first."""
        return [path for path in (self.path, *self.path.parents) if not path.exists()]

    def _try(self) -> int:
        if self.path.exists() and not self.path.is_file() and not self.path.is_dir():
            hint = "It must be one that can be appended to."
            raise PreflightError(f"The rejects file {self.path} is not a regular file.", hint=hint)
        self._opened()
        return 0

    def _opened(self) -> BinaryIO:
        """The file at `path`, locked. If it was removed since it was opened, another one is created."""
        if self._file is None or not is_at(self.path, self._file.fileno()):
            self.close()
            # With `parents=True` only the innermost folder would get the mode.
            for folder in reversed(self._missing()[1:]):
                folder.mkdir(0o700, exist_ok=True)
            file = open(self.path, "r+b", opener=_open_or_create)  # noqa: SIM115 - closed by `close`
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                raise
            self._file = file
        return self._file

    def _append(self, lines: bytes) -> int:
        new = self._missing()
        file = self._opened()
        size = file.seek(0, os.SEEK_END)
        if size and os.pread(file.fileno(), 1, size - 1) != b"\n":  # another job was killed in the middle of a line
            file.write(b"\n")
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())
        for path in new:
            sync_folder(path.parent)
        return file.tell()

    def _cut(self, size: int) -> int:
        if not self.path.exists():
            return 0
        file = self._opened()
        at = end = file.seek(min(size, file.seek(0, os.SEEK_END)))  # somebody may have made it shorter
        mine: list[tuple[int, int]] = []
        for line in file:
            if self._is_mine(line):
                mine.append((at, len(line)))
            else:
                end = at + len(line)
            at += len(line)
        for start, length in mine:
            if start < end:
                os.pwrite(file.fileno(), b" " * (length - 1), start)
        file.truncate(end)
        os.fsync(file.fileno())
        return end

    def _is_mine(self, line: bytes) -> bool:
        """Whether this job has written the line, or its beginning; one that is only a brace was there before."""
        return line.startswith(self._begin) or (len(line.rstrip()) > 1 and self._begin.startswith(line.rstrip(b"\n")))

    def _remove_empty(self, new: Iterable[Path]) -> None:
        """Remove these paths, which `tried` has created, unless they have content by now."""
        if self._file is not None and self._file.seek(0, os.SEEK_END) == 0 and self.path in new:
            self.path.unlink(missing_ok=True)
        self.close()
        for path in new:
            if path != self.path:
                with suppress(OSError):
                    path.rmdir()


def _open_or_create(path: str, _: int) -> int:
    """The file holds items, so only its owner may read it."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _encode(reject: Reject, run: str) -> bytes:
    members = msgspec.structs.asdict(reject)
    raw = members.pop("raw")
    line = RejectLine(run=run, **members)
    try:
        line.raw = raw if raw is None else raw.decode()
    except UnicodeDecodeError:
        line.raw_base64 = raw
    return msgspec.json.encode(line) + b"\n"
