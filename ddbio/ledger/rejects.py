"""The rejects file: one JSON line for each record that could not be written, durable before the job moves past it."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from ddbio.codec.model import Reason, Refused
from ddbio.errors import DdbioError, DestinationError, PreflightError
from ddbio.ledger.entries import Reject

T = TypeVar("T")
MARK = b'{"ddbio_reject":'
"""How a line of a rejects file begins."""


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
        except (msgspec.DecodeError, UnicodeDecodeError):
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
    """Adds rejects to `path`; the file and its folder are made with the first one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._size: int | None = None

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
        """Write these rejects durably; return the file's size. Raises DestinationError where that can't be done."""
        lines = b"".join(_line(reject) for reject in rejects)
        if lines or self._size is None:
            self._size = await self._change(self._append, lines)
        return self._size

    async def cut(self, size: int) -> None:
        """Remove what stands behind `size` bytes: rejects whose commit did not become durable."""
        self._size = await self._change(self._cut, size)

    async def _change(self, change: Callable[[T], int], argument: T, kind: type[DdbioError] = DestinationError) -> int:
        try:
            return await asyncio.to_thread(change, argument)
        except OSError as error:
            raise kind(
                f"The rejects file {self.path} can't be written: {error.strerror}.",
                hint="Give another place with --rejects or --state.",
            ) from error

    def _missing(self) -> list[Path]:
        """The file and the folders above it that do not exist, the innermost first."""
        return [path for path in (self.path, *self.path.parents) if not path.exists()]

    def _open(self, _: None) -> int:
        if self.path.exists() and not self.path.is_file() and not self.path.is_dir():
            raise PreflightError(
                f"The rejects file {self.path} is not a regular file.", hint="It is made durable, and added to."
            )
        self._make_folder()
        with self.path.open("ab") as file:
            return file.tell()

    def _make_folder(self) -> None:
        if not self.path.parent.exists():  # of a file in its place `mkdir` would say that it exists
            self.path.parent.mkdir(parents=True, exist_ok=True)

    def _append(self, lines: bytes) -> int:
        if not lines:
            return self.path.stat().st_size if self.path.exists() else 0
        new = self._missing()
        self._make_folder()
        with self.path.open("ab") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        for path in new:
            _sync_folder(path.parent)
        return size

    def _cut(self, size: int) -> int:
        if not self.path.exists():
            return 0
        with self.path.open("r+b") as file:
            left = min(size, file.seek(0, os.SEEK_END))  # somebody may have made it shorter
            file.truncate(left)
            os.fsync(file.fileno())
        return left


def _remove(made: Sequence[Path]) -> None:
    """Remove what was made, as far as it was, and nobody has put anything into it."""
    for path in made:
        with suppress(OSError):
            path.rmdir() if path.is_dir() else path.unlink()


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _line(reject: Reject) -> bytes:
    fields: dict[str, Any] = {
        "ddbio_reject": 1,
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
    return msgspec.json.encode(fields) + b"\n"
