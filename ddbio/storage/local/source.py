"""Files, folders, globs and named pipes of the local file system as a source."""

from __future__ import annotations

import asyncio
import glob
import os
import stat
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from ddbio.errors import NoInputError, PreflightError, SourceError
from ddbio.names import INPUT_ENDINGS, compression_of, is_exported, is_hidden, is_input, is_seen, is_unfinished
from ddbio.storage.base import JOURNAL, MANIFEST, ExportFolder, Source, SourceFile, Survey
from ddbio.storage.local.disk import open_nonblocking, read
from ddbio.storage.stdio import CHUNK, read_stream, refuse_start

T = TypeVar("T")


class LocalSource(Source):
    """What `pattern` names: a file of any ending (also a named pipe, which can be read once), a folder, or a glob.

    A folder is walked, following links, for files with the usual endings; names that start with `_` or `.` are left
    out. A glob takes every file that it matches, by the same rule about names, and walks the folders that it matches.
    """

    def __init__(self, pattern: str, *, executor: Executor) -> None:
        self._pattern = pattern
        self._executor = executor

    @property
    def location(self) -> str:
        return self._pattern

    async def survey(self) -> Survey:
        return await self._call(lambda: _survey(self._pattern))

    async def manifest(self, root: str | None = None) -> bytes | None:
        return await self._call(lambda: _manifest(self._pattern, root))

    def location_of(self, name: str) -> str:
        return name

    async def read(self, file: SourceFile, start: int = 0) -> AsyncGenerator[bytes, None]:
        chunks = self._read_stream(file, start) if file.size is None else self._read_file(file, start)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk

    async def _read_file(self, file: SourceFile, start: int) -> AsyncGenerator[bytes, None]:
        # Also after the last byte, and in an empty file, so that what was appended meanwhile is not missed.
        while chunk := await self._call(partial(_chunk, file, start)):
            yield chunk
            start += len(chunk)

    async def _read_stream(self, file: SourceFile, start: int) -> AsyncGenerator[bytes, None]:
        refuse_start(file.name, start)
        try:
            descriptor = open_nonblocking(file.name, os.O_RDONLY)
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


def _survey(pattern: str) -> Survey:
    walk = _Walk()
    named: Literal["file", "glob", "folder"] = "file"
    try:
        status = _status(pattern)
        if status is None:
            named, found = "glob", dict(_match(pattern, walk))
        elif stat.S_ISDIR(status.st_mode):
            named, found = "folder", dict(walk.files(pattern))
        else:
            found = {pattern: status}
        exports = _exports({_root(pattern), *(Path(name).parent for name in found)}, walk.folders.values())
    except OSError as error:
        raise PreflightError(f"Could not look into {error.filename or pattern}: {error.strerror}.") from error
    if not found and not walk.hidden:
        raise NoInputError(f"{pattern} holds no input file.", hint=f"Looked for names ending in {INPUT_ENDINGS}.")
    root = os.path.join(os.path.realpath(_root(pattern)), "")  # noqa: PTH118 (a Path has no slash at its end)
    hidden = tuple(_describe(name, status) for name, status in sorted(walk.hidden.items()))
    return Survey([_describe(name, found[name]) for name in sorted(found)], named, root, exports, hidden)


def _status(pattern: str) -> os.stat_result | None:
    """None where no file has this name and it is a glob."""
    try:
        return Path(pattern).stat()
    except FileNotFoundError as error:
        if glob.has_magic(pattern):
            return None
        raise PreflightError(f"{pattern} does not exist.", hint="Check the path of the source.") from error


def _exports(folders: set[Path], walked: Iterable[str]) -> tuple[ExportFolder, ...]:
    """The folders that hold an export, by the files in `_ddbio` or, in those that were walked, by unfinished files."""
    whole = set(map(os.path.realpath, walked))
    found = []
    for folder in sorted(whole.union(map(os.path.realpath, folders))):
        names = sorted(path.name for path in Path(folder).iterdir()) if folder in whole else []
        part = next(filter(is_unfinished, names), "")
        journal = Path(folder, JOURNAL)
        has_manifest, has_journal = _is_there(Path(folder, MANIFEST)), _is_there(journal) and any(journal.iterdir())
        if has_manifest or has_journal or part:
            found.append(ExportFolder(os.path.join(folder, ""), has_manifest, has_journal, part))  # noqa: PTH118
    return tuple(found)


def _is_there(path: Path) -> bool:
    """Like `exists`, but raises OSError for what can't be determined."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _match(pattern: str, walk: _Walk) -> Iterator[tuple[str, os.stat_result]]:
    fixed = len(_fixed_part(pattern).parts)
    _look_into_folders(Path(pattern).parts, fixed)
    # Hidden names are left out here and not by `iglob`, which takes only those with a dot for hidden.
    for name in glob.iglob(pattern, recursive=True, include_hidden=True):  # noqa: PTH207 (Path.glob is relative)
        *folders, last = Path(name).parts[fixed:] or ("",)
        if any(map(is_hidden, folders)):
            continue
        status = Path(name).stat()
        if is_hidden(last):
            walk.hide(name, status)
        elif stat.S_ISDIR(status.st_mode):
            yield from walk.files(name)
        else:
            yield name, status


def _look_into_folders(parts: Sequence[str], fixed: int) -> None:
    """Raise OSError for a folder on the path of a glob that can't be read: `iglob` would leave it out."""
    for depth in range(fixed, len(parts)):
        for name in glob.iglob(str(Path(*parts[:depth])), recursive=True):  # noqa: PTH207
            path = Path(name)
            if path.is_dir() and not any(map(is_hidden, path.parts[fixed:])):
                os.scandir(path).close()


def _fixed_part(pattern: str) -> Path:
    parts = Path(pattern).parts
    magic = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:magic])


class _Walk:
    """Finds regular files with the usual endings; enters each real folder once, so that links may form loops."""

    def __init__(self) -> None:
        self.folders: dict[tuple[int, int], str] = {}
        self.hidden: dict[str, os.stat_result] = {}

    def files(self, folder: str) -> Iterator[tuple[str, os.stat_result]]:
        status = Path(folder).stat()
        identity = (status.st_dev, status.st_ino)
        if identity in self.folders:
            return
        self.folders[identity] = folder
        with os.scandir(folder) as entries:
            for entry in entries:
                yield from self._enter(entry)

    def hide(self, name: str, status: os.stat_result) -> None:
        if is_exported(Path(name).name) and stat.S_ISREG(status.st_mode):
            self.hidden[name] = status

    def _enter(self, entry: os.DirEntry[str]) -> Iterator[tuple[str, os.stat_result]]:
        try:
            status = entry.stat()
        except OSError:
            if is_seen(entry.name):  # a dangling link: its data would be missing
                raise
            return
        if is_hidden(entry.name):
            self.hide(entry.path, status)
        elif stat.S_ISDIR(status.st_mode):
            yield from self.files(entry.path)
        elif is_input(entry.name):
            if not stat.S_ISREG(status.st_mode):  # a pipe or a socket
                hint = "Name it as the source, or move it away."
                raise PreflightError(f"{entry.path} is not a regular file.", hint=hint)
            yield entry.path, status


def _describe(name: str, status: os.stat_result) -> SourceFile:
    try:
        name.encode()
    except UnicodeEncodeError:  # neither the journal nor the rejects file could name it
        raise PreflightError(f"The name {name!r} is not UTF-8.", hint="Give the file another name.") from None
    size, tag = (status.st_size, _tag(status)) if stat.S_ISREG(status.st_mode) else (None, "")
    return SourceFile(name, size, tag, compression_of(name))


def _tag(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns}-{status.st_size}"


def _chunk(file: SourceFile, start: int) -> bytes:
    """One chunk, empty at the end, of an unchanged file. Opening it each time detects that it was replaced."""
    length = min(CHUNK, max((file.size or 0) - start, 0))
    try:
        with open(file.name, "rb", buffering=0, opener=open_nonblocking) as opened:
            opened.seek(start)
            chunk = opened.read(length)
            status = os.fstat(opened.fileno())
    except OSError as error:
        todo = "Make it readable" if isinstance(error, PermissionError) else "Leave the source alone while it is read"
        raise SourceError(f"Could not read {file.name}: {error.strerror}.", hint=f"{todo}, and run again.") from error
    if _tag(status) != file.tag or (length and not chunk):
        raise SourceError(f"{file.name} was changed while it was read.", hint="Run again once nobody writes to it.")
    return chunk


def _root(pattern: str) -> Path:
    """The root that an export of these files would have; raises OSError where that can't be determined."""
    path = Path(pattern)
    try:
        return path if stat.S_ISDIR(path.stat().st_mode) else path.parent
    except FileNotFoundError:
        return _fixed_part(pattern) if glob.has_magic(pattern) else path.parent


def _manifest(pattern: str, root: str | None) -> bytes | None:
    try:
        return read((_root(pattern) if root is None else Path(root)) / MANIFEST)
    except NotADirectoryError:
        return None
    except OSError as error:
        hint = "Make it readable: without it, there is no telling whether the export is complete."
        where = error.filename or f"the manifest of {pattern}"
        raise SourceError(f"Could not read {where}: {error.strerror}.", hint=hint) from error
