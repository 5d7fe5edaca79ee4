"""The rejects file: one JSON line for each record that could not be written, durable before the job moves past it.

Several jobs may add to one file, at the same time too: each line tells its job, and a job removes none but its own.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from ddbio.errors import DdbioError, DestinationError, PreflightError
from ddbio.ledger.entries import Reject
from ddbio.model import Reason, Refused
from ddbio.unreadable import UNREADABLE

T = TypeVar("T")
MARK = b'{"ddbio_reject":'
"""How a line of a rejects file begins."""
_ATTEMPTS = 10
"""A file that is removed in the instant in which it is opened is made again."""


class _Line(msgspec.Struct):
    """A line of a rejects file, as far as it is needed to take the record back."""

    ddbio_reject: Literal[1]
    source: str
    offset: int
    length: int
    raw: str | UnsetType | None = UNSET
    raw_base64: bytes | UnsetType = UNSET


def unwrap(line: bytes) -> bytes | Refused:
    """The record that a line of a rejects file holds, or why it holds none; any other line as it is."""
    while line.startswith(MARK):  # a reject without its record, imported and rejected again, is wrapped twice
        try:
            found = msgspec.json.decode(line, type=_Line)
        except UNREADABLE:
            return line
        if isinstance(found.raw, str):
            line = found.raw.encode()
        elif isinstance(found.raw_base64, bytes):
            line = found.raw_base64
        else:
            return Refused(
                Reason.RAW_MISSING,
                0,
                f"The rejects file does not hold this record: read it from {found.source}, {found.length:,} bytes from "
                f"byte {found.offset:,} on.",
            )
    return line


class RejectsFile:
    """Adds the rejects of the job `run` to `path`; the file and its folder are made with the first one."""

    def __init__(self, path: Path, run: str) -> None:
        self.path = path
        self._begin = msgspec.json.encode({"ddbio_reject": 1, "run": run})[:-1] + b","
        self._size = 0

    @asynccontextmanager
    async def tried(self) -> AsyncIterator[None]:
        """Try the file for writing: it exists inside the block, and what was made for that is gone behind it.

        Raises PreflightError.
        """
        made = await asyncio.to_thread(self._missing)
        try:
            await self._change(self._open, None, PreflightError)
            yield
        finally:
            await asyncio.to_thread(_remove, made)

    async def add(self, rejects: Iterable[Reject]) -> int:
        """Write these rejects durably; raises DestinationError where that can't be done.

        Returns how much of the file holds all of this job's lines: 0 before the first one.
        """
        lines = b"".join(self._begin + _rest_of_line(reject) for reject in rejects)
        if lines:
            self._size = await self._change(self._append, lines)
        return self._size

    async def cut(self, size: int) -> None:
        """Remove this job's lines behind `size` bytes: rejects whose commit did not become durable.

        Those that another job has written behind stay where they are, as its journal may count on that: then blanks
        take the place of the lines before them.
        """
        self._size = await self._change(self._cut, size)

    async def _change(self, change: Callable[[T], int], argument: T, kind: type[DdbioError] = DestinationError) -> int:
        try:
            return await asyncio.to_thread(change, argument)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                hint = "Free some space there."
            elif kind is PreflightError:
                hint = "Give another place with --rejects or --state."
            else:  # a job that has begun keeps to its file
                hint = "See that it can be written again, and resume; or begin anew with another --rejects and --state."
            raise kind(f"The rejects file {self.path} can't be written: {error.strerror}.", hint=hint) from error

    def _missing(self) -> list[Path]:
        """The file and the folders above it that do not exist, the innermost first."""
        return [path for path in (self.path, *self.path.parents) if not path.exists()]

    def _open(self, _: None) -> int:
        if self.path.exists() and not self.path.is_file() and not self.path.is_dir():
            raise PreflightError(
                f"The rejects file {self.path} is not a regular file.", hint="It is made durable, and added to."
            )
        self._make_folder()
        with _open(self.path, "ab") as file:
            return file.tell()

    def _make_folder(self) -> None:
        # Of a file in a folder's place `mkdir` would say that it exists, and with `parents=True` the mode would be that
        # of the innermost folder alone.
        for folder in reversed(self._missing()[1:]):
            folder.mkdir(0o700, exist_ok=True)

    def _append(self, lines: bytes) -> int:
        new = self._missing()
        self._make_folder()
        with _locked(self.path, "a+b") as file:
            # Another job may have been killed in the middle of a line.
            file.write(lines if _ends_a_line(file) else b"\n" + lines)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        for path in new:
            _sync_folder(path.parent)
        return size

    def _cut(self, size: int) -> int:
        if not self.path.exists():
            return 0
        with _locked(self.path, "r+b") as file:
            at = left = file.seek(min(size, file.seek(0, os.SEEK_END)))  # somebody may have made it shorter
            mine: list[tuple[int, int]] = []
            for line in file:
                if self._is_mine(line):
                    mine.append((at, len(line)))
                else:
                    left = at + len(line)
                at += len(line)
            for start, length in mine:
                if start < left:
                    os.pwrite(file.fileno(), b" " * (length - 1), start)
            file.truncate(left)
            os.fsync(file.fileno())
        return left

    def _is_mine(self, line: bytes) -> bool:
        """Whether this job has written the line; one that breaks off before it tells whose it is holds no record.

        A line that is empty, or a brace and nothing else, is of whatever was in the file before.
        """
        return line.startswith(self._begin) or (len(line.rstrip()) > 1 and self._begin.startswith(line.rstrip(b"\n")))


def _open(path: Path, mode: Literal["ab", "r+b", "a+b"]) -> BinaryIO:
    """Open a file that holds items, and so is made for its owner alone."""
    return open(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600))


@contextmanager
def _locked(path: Path, mode: Literal["r+b", "a+b"]) -> Iterator[BinaryIO]:
    """The file at `path`, while no other job changes it."""
    for _ in range(_ATTEMPTS):
        with _open(path, mode) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if _is_at(path, file):
                yield file
                return
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _ends_a_line(file: BinaryIO) -> bool:
    size = file.seek(0, os.SEEK_END)
    return size == 0 or os.pread(file.fileno(), 1, size - 1) == b"\n"


def _remove(made: Sequence[Path]) -> None:
    """Remove what was made, as far as it was, and nobody has put anything into it."""
    for path in made:
        with suppress(OSError):
            path.rmdir() if path.is_dir() else _remove_empty(path)


def _remove_empty(path: Path) -> None:
    with _locked(path, "r+b") as file:
        if not file.seek(0, os.SEEK_END):  # else another job has put its rejects there meanwhile
            path.unlink()


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rest_of_line(reject: Reject) -> bytes:
    fields: dict[str, Any] = {
        "source": reject.source,
        "offset": reject.offset,
        "length": reject.length,
        "line": reject.line,
        "reason": reject.reason,
        "message": reject.message,
    }
    try:
        fields["raw"] = None if reject.raw is None else reject.raw.decode()
    except UnicodeDecodeError:
        fields["raw_base64"] = base64.b64encode(reject.raw or b"").decode()
    return msgspec.json.encode(fields)[1:] + b"\n"
