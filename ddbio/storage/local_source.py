"""Files, folders, globs and named pipes of the local file system as a source."""

from __future__ import annotations

import asyncio
import glob
import os
import stat
from collections.abc import AsyncGenerator, Callable, Collection, Iterator
from concurrent.futures import Executor
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import TypeVar

from ddbio.errors import NoInputError, PreflightError, SourceError
from ddbio.storage.base import JOURNAL, MANIFEST, Source, SourceFile
from ddbio.storage.naming import INPUT_ENDINGS, compression_of, is_hidden, is_input
from ddbio.storage.stdio import CHUNK, read_stream, refuse_start

T = TypeVar("T")


class LocalSource(Source):
    """What `pattern` names: a file of any ending (also a named pipe, which can be read once), a folder, or a glob.

    A folder is walked, links followed, for files with the usual endings; names that start with `_` or `.` are left
    out. A glob takes every file that it matches, by the same rule about names, and walks the folders that it matches.
    """

    def __init__(self, pattern: str, *, executor: Executor) -> None:
        self._pattern = pattern
        self._executor = executor

    @property
    def location(self) -> str:
        return self._pattern

    async def __aenter__(self) -> LocalSource:
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Nothing to do: no file stays open between two chunks."""

    async def files(self, listed: Collection[str] = ()) -> list[SourceFile]:
        return await self._call(lambda: _find(self._pattern, listed))

    async def manifest(self) -> bytes | None:
        return await self._call(lambda: _manifest(self._pattern))

    async def has_journal(self) -> bool:
        return await self._call(lambda: _has_journal(self._pattern))

    async def read(self, file: SourceFile, start: int = 0) -> AsyncGenerator[bytes, None]:
        chunks = self._read_stream(file, start) if file.size is None else self._read_file(file, start)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk

    async def _read_file(self, file: SourceFile, start: int) -> AsyncGenerator[bytes, None]:
        # Also behind the last byte, and in an empty file: what was appended since it was found must not be missed.
        while chunk := await self._call(partial(_chunk, file, start)):
            yield chunk
            start += len(chunk)

    async def _read_stream(self, file: SourceFile, start: int) -> AsyncGenerator[bytes, None]:
        refuse_start(file.name, start)
        try:
            # Does not wait for a writer: it returns at once, so there is no thread that could be left behind.
            descriptor = os.open(file.name, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise SourceError(f"Could not open {file.name}: {error.strerror}.") from error
        try:
            async with aclosing(read_stream(descriptor, file.name, self._executor)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            os.close(descriptor)

    async def _call(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function)


def _find(pattern: str, listed: Collection[str]) -> list[SourceFile]:
    try:
        status = _status(pattern)
        shown = frozenset(str(_root(pattern) / name) for name in listed)
        if status is None:
            found = dict(_match(pattern, shown))
        elif stat.S_ISDIR(status.st_mode):
            found = dict(_Walk(shown).files(pattern))
        else:
            found = {pattern: status}
    except OSError as error:
        raise PreflightError(f"Could not look into {error.filename or pattern}: {error.strerror}.") from error
    if not found:
        raise NoInputError(f"{pattern} holds no input file.", hint=f"Looked for names ending in {INPUT_ENDINGS}.")
    return [_describe(name, found[name]) for name in sorted(found)]


def _status(pattern: str) -> os.stat_result | None:
    """None for a glob, which no file is named like."""
    try:
        return Path(pattern).stat()
    except FileNotFoundError as error:
        if glob.has_magic(pattern):
            return None
        raise PreflightError(f"{pattern} does not exist.", hint="Check the path of the source.") from error


def _match(pattern: str, shown: Collection[str]) -> Iterator[tuple[str, os.stat_result]]:
    fixed = len(_fixed_part(pattern).parts)
    walk = _Walk(shown)
    # Names that begin with a dot are left out here, if they are: the manifest may list them.
    for name in glob.iglob(pattern, recursive=True, include_hidden=True):  # noqa: PTH207 (Path.glob is relative)
        if any(is_hidden(part) for part in Path(name).parts[fixed:]) and str(Path(name)) not in shown:
            continue
        status = Path(name).stat()
        if stat.S_ISDIR(status.st_mode):
            yield from walk.files(name)
        else:
            yield name, status


def _fixed_part(pattern: str) -> Path:
    """The folder that all matches of a glob lie under."""
    parts = Path(pattern).parts
    magic = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:magic])


class _Walk:
    """Regular files with the usual endings; each real folder is entered once, so links may form loops."""

    def __init__(self, shown: Collection[str]) -> None:
        self._shown = shown
        self._visited: set[tuple[int, int]] = set()

    def files(self, folder: str) -> Iterator[tuple[str, os.stat_result]]:
        status = Path(folder).stat()
        identity = (status.st_dev, status.st_ino)
        if identity in self._visited:
            return
        self._visited.add(identity)
        with os.scandir(folder) as entries:
            for entry in entries:
                if not is_hidden(entry.name) or str(Path(entry.path)) in self._shown:
                    yield from self._enter(entry)

    def _enter(self, entry: os.DirEntry[str]) -> Iterator[tuple[str, os.stat_result]]:
        try:
            status = entry.stat()
        except OSError:
            if is_input(entry.name):  # a link to nowhere: what it should have held would be missing
                raise
            return
        if stat.S_ISDIR(status.st_mode):
            yield from self.files(entry.path)
        elif is_input(entry.name):
            if not stat.S_ISREG(status.st_mode):  # a pipe, a socket: by itself it could be read, but not as a file
                hint = "Name it as the source, or move it away."
                raise PreflightError(f"{entry.path} is not a regular file.", hint=hint)
            yield entry.path, status


def _describe(name: str, status: os.stat_result) -> SourceFile:
    try:
        name.encode()
    except UnicodeEncodeError:  # neither the journal nor the rejects file could name it
        raise PreflightError(f"The name {name!r} is not UTF-8.", hint="Give the file another name.") from None
    if stat.S_ISREG(status.st_mode):
        return SourceFile(name, status.st_size, _tag(status), compression_of(name))
    return SourceFile(name, None, "", compression_of(name))


def _tag(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns}-{status.st_size}"


def _chunk(file: SourceFile, start: int) -> bytes:
    """One chunk, empty at the end, of a file that is what it was before and after.

    Opening it anew for each chunk also finds out where it was replaced, and leaves nothing open when reading stops.
    """
    length = min(CHUNK, max((file.size or 0) - start, 0))
    try:
        with Path(file.name).open("rb", buffering=0) as opened:
            opened.seek(start)
            chunk = opened.read(length)
            status = os.fstat(opened.fileno())
    except OSError as error:
        hint = "Leave the source alone while it is read, and run again."
        raise SourceError(f"Could not read {file.name}: {error.strerror}.", hint=hint) from error
    if _tag(status) != file.tag or (length and not chunk):
        hint = "Run again once nobody writes to it."
        raise SourceError(f"{file.name} was changed while it was read.", hint=hint)
    return chunk


def _root(pattern: str) -> Path:
    """Where an export would have its own folder; raises OSError where that can't be found out."""
    path = Path(pattern)
    try:
        return path if stat.S_ISDIR(path.stat().st_mode) else path.parent
    except FileNotFoundError:
        return _fixed_part(pattern) if glob.has_magic(pattern) else path.parent


def _has_journal(pattern: str) -> bool:
    try:
        return any((_root(pattern) / JOURNAL).iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise SourceError(f"Could not look into {error.filename}: {error.strerror}.") from error


def _manifest(pattern: str) -> bytes | None:
    try:
        return (_root(pattern) / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        hint = "Where it can't be read, nobody can tell whether the export is whole: make it readable."
        raise SourceError(f"Could not read {error.filename}: {error.strerror}.", hint=hint) from error
