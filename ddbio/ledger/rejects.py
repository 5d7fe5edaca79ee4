"""The rejects file: one JSON line for each record that could not be written, durable before the job moves past it.

Jobs may append to the same file one after the other: each line names its run, and a job removes only its own.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from ddbio.errors import DdbioError, DestinationError, PreflightError
from ddbio.ledger.entries import Reject
from ddbio.model import Reason, Refused
from ddbio.storage.local.disk import is_at, sync_folder
from ddbio.unreadable import UNREADABLE

MARK = b'{"ddbio_reject":'
ATTEMPTS = 10


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
    """Appends the rejects of the job `run` to `path`, and holds a lock on it until `aclose`."""

    def __init__(self, path: Path, run: str) -> None:
        self.path = path
        self._run = run
        self._begin = msgspec.json.encode({"ddbio_reject": 1, "run": run})[:-1] + b","
        self._size = 0
        self._file: FileIO | None = None
        self._created: list[Path] = []
        """The file and the folders that did not exist, the innermost first."""

    async def open(self) -> None:
        """Create the file, if need be, and lock it, before the job begins; raises PreflightError."""
        await self._change(self._open, PreflightError)

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

    async def aclose(self) -> None:
        """Release the file. If it was created for this job and is empty, it is removed, and so are its new folders."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        if self._file is None:
            return
        if self._created and is_at(self.path, self._file.fileno()) and not self.path.stat().st_size:
            self.path.unlink()
            for folder in self._created[1:]:
                with suppress(OSError):  # it is no longer empty
                    folder.rmdir()
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
                hint = "Give another location with --rejects or --state."
            else:  # a job that has begun keeps to its file
                hint = "See that it can be written again, and resume; or start over with another --rejects and --state."
            raise kind(f"The rejects file {self.path} can't be written: {error.strerror}.", hint=hint) from error

    def _open(self) -> int:
        if self.path.exists() and not self.path.is_file() and not self.path.is_dir():
            hint = "It must be one that can be appended to."
            raise PreflightError(f"The rejects file {self.path} is not a regular file.", hint=hint)
        return self._opened()

    def _opened(self) -> int:
        """The descriptor of the locked file at `path`; another file is created if that one was moved away."""
        if self._file is None or not is_at(self.path, self._file.fileno()):
            self._close()
            self._created = [path for path in (self.path, *self.path.parents) if not path.exists()]
            # With `parents=True` only the innermost folder would get the mode.
            for folder in reversed(self._created[1:]):
                folder.mkdir(0o700, exist_ok=True)
            # Unbuffered: what can't be written must not be tried once more when the file is closed.
            self._file = _locked(self.path)
        return self._file.fileno()

    def _append(self, lines: bytes) -> int:
        file = self._opened()
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":  # another job was killed in the middle of a line
            lines = b"\n" + lines
        rest = memoryview(lines)
        while rest:
            written = os.pwrite(file, rest, size)
            rest, size = rest[written:], size + written
        os.fsync(file)
        while self._created:
            sync_folder(self._created.pop().parent)
        return size

    def _cut(self, size: int) -> int:
        if not self.path.exists():
            return 0
        file = self._opened()
        at = end = min(size, os.fstat(file).st_size)  # somebody may have made it shorter
        mine: list[tuple[int, int]] = []
        with self.path.open("rb") as reader:
            reader.seek(at)
            for line in reader:
                if self._is_mine(line):
                    mine.append((at, len(line)))
                else:
                    end = at + len(line)
                at += len(line)
        for start, length in mine:
            if start < end:
                os.pwrite(file, b" " * (length - 1), start)
        os.truncate(file, end)
        os.fsync(file)
        return end

    def _is_mine(self, line: bytes) -> bool:
        """Whether this job has written the line, or its beginning; one that is only a brace was there before."""
        return line.startswith(self._begin) or (len(line.rstrip()) > 1 and self._begin.startswith(line.rstrip(b"\n")))


def _locked(path: Path) -> FileIO:
    """The file at `path`, created if need be, and locked. Raises BlockingIOError if another job holds it."""
    for _ in range(ATTEMPTS):
        file = open(path, "r+b", buffering=0, opener=_open_or_create)  # noqa: SIM115 - closed by `RejectsFile._close`
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_at(path, file.fileno()):
                return file
        except OSError:
            file.close()
            raise
        file.close()  # a job that ended has removed it in the meantime
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


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
