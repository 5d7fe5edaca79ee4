"""File system operations of the local folder: blocking calls, for a thread, each durable before it returns."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from ddbio.errors import DestinationError, PreflightError
from ddbio.names import final_name, is_hidden, is_part_of, is_seen
from ddbio.storage.base import OWN_FOLDER, StoredFile

_NO_ROOM = "Free some space there, or choose another destination."
_FORBIDDEN = "Check the permissions there, or choose another destination."
_NOT_A_FOLDER = "A file stands where a folder is needed, or a folder where a file is: choose another destination."
_NO_LOCKS = "The file system has no locks: choose another destination."
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
    errno.ENOLCK: _NO_LOCKS,
    errno.EOPNOTSUPP: _NO_LOCKS,
    errno.ELOOP: "Only a name inside the destination is used, and no link that leads out of it.",
}
LOOKED_AT = 1_000
PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
"""Journals and the state of imports hold item data, which only the owner may read."""


@contextmanager
def translated_errors(
    action: str, path: Path, error_type: type[DestinationError | PreflightError] = DestinationError
) -> Iterator[None]:
    """Raise `error_type` for an OSError, with what was tried and what can be done."""
    try:
        yield
    except OSError as error:
        said = error.strerror or type(error).__name__
        hint = _HINTS.get(error.errno or 0, "Check the disk or mount, or choose another destination.")
        raise error_type(f"Could not {action} {path}: {said}.", hint=hint) from error


def inside(root: Path, name: str) -> Path:
    """The path of the file of this relative name; raises OSError where that is not inside `root`."""
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise OSError(errno.ELOOP, "it is not a name inside the folder")
    for depth in range(1, len(parts)):
        if root.joinpath(*parts[:depth]).is_symlink():
            raise OSError(errno.ELOOP, "a link stands where a folder of ddbio's own should be")
    return root / name


def sync_data(descriptor: int) -> None:
    """Make a file's bytes and size durable."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        os.fsync(descriptor)


def is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file is the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(part: Path, final: Path) -> None:
    """Give an unfinished file, whose bytes are durable, its final name."""
    part.replace(final)
    sync_folder(final.parent)


def open_nonblocking(path: str | Path, flags: int) -> int:
    """Open what should be a regular file: if it is a pipe, the call would otherwise wait for a writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def read(path: Path, most: int | None = None) -> bytes | None:
    """The bytes of a file, if there is one; raises OSError for over `most`, and for a pipe, which might never end."""
    try:
        descriptor = open_nonblocking(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "It is not a regular file", str(path))
        if most is not None and found.st_size > most:
            raise OSError(errno.EINVAL, f"It has more than {most:,} bytes", str(path))
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def put(path: Path, part: Path, data: bytes, *, private: bool) -> None:
    """Write a file whole or not at all, by way of `part`."""
    try:
        write(part, data, private=private)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def remove(root: Path, names: Iterable[str]) -> None:
    """Remove files that exist, and their folders below `root` that become empty. Raises DestinationError."""
    folders = set()
    for name in names:
        with translated_errors("delete", root / name):
            path = inside(root, name)
            path.unlink(missing_ok=True)
        folders.add(path.parent)
    for folder in folders:
        with translated_errors("delete files in", folder), suppress(FileNotFoundError):
            sync_folder(folder)
        if folder != root:
            with suppress(OSError):  # not empty, or already removed
                folder.rmdir()


def opener(*, private: bool) -> Callable[[str, int], int]:
    return lambda name, flags: os.open(name, flags, PRIVATE_FILE if private else 0o666)


def write(path: Path, data: bytes, *, private: bool = True) -> None:
    """Write a file, durably except for its name."""
    with open(path, "wb", opener=opener(private=private)) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def seal_at(final: Path, called: str, size: int) -> bool:
    """Seal an unfinished file, `called` so beside its final name, at `size` bytes, or find it sealed. If neither is
    possible, remove it and return False.
    """
    part = final.parent / called
    if not is_part_of(called, final.name) or part.is_symlink():
        raise OSError(errno.ELOOP, "its unfinished file is another file, or a link")
    if part.is_file():
        if part.stat().st_size < size:
            part.unlink()
            return False
        with part.open("r+b") as file:
            file.truncate(size)
            os.fsync(file.fileno())
        publish(part, final)
        return True
    if final.is_file() and final.stat().st_size == size:
        # The process that renamed it may have died before that was durable.
        sync_folder(final.parent)
        return True
    return False


def sweep(root: Path, owns: Callable[[str], bool], keep: Container[str]) -> list[str]:
    """Remove unfinished files, as `Sink.sweep` does."""
    removed = set()
    for file in walk(root):
        name = final_name(file.name)
        if name and name not in keep and (name.startswith(f"{OWN_FOLDER}/") or owns(name)):
            (root / file.name).unlink(missing_ok=True)
            removed.add(name)
    return sorted(removed)


def walk(root: Path, prefix: str = "") -> Iterator[StoredFile]:
    """Every file in `root`, and in ddbio's own folder there, whose relative name starts with `prefix`."""
    # Only the folder of the prefix: the journal is listed often, beside many thousand files.
    start = root / prefix.rpartition("/")[0]
    for folder, folders, names in os.walk(start, onerror=_unless_missing):
        if Path(folder) == root:  # other folders are not ddbio's, and there may be very many
            folders[:] = [name for name in folders if name == OWN_FOLDER]
        for name in names:
            path = Path(folder, name)
            relative = path.relative_to(root).as_posix()
            if relative.startswith(prefix):
                with suppress(FileNotFoundError):  # renamed or removed meanwhile
                    yield StoredFile(relative, path.lstat().st_size)


def input_below(root: Path) -> Iterator[str]:
    """The relative names of the files that an import from `root` would read, of the first `LOOKED_AT` folders."""
    for folder, folders, names in islice(os.walk(root), LOOKED_AT):
        folders[:] = [name for name in folders if not is_hidden(name)]
        found = (Path(folder, name).relative_to(root).as_posix() for name in names)
        yield from filter(is_seen, found)


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


class Folders:
    """Creates `root` and folders below it as needed, with durable names; only their owner may enter `private` ones."""

    def __init__(self, root: Path, *, private: bool) -> None:
        self._root = root
        self._mode = PRIVATE_FOLDER if private else 0o777
        self._lock = threading.Lock()
        self._durable: set[Path] = set()
        self._made: list[Path] = []

    def make(self, folder: Path) -> None:
        """Create `folder` and its parents; once this returns, their names are durable, whoever created them."""
        # One at a time: a folder that another thread has just created is not durable yet.
        with self._lock:
            if folder in self._durable and folder.is_dir():
                return
            missing = [path for path in (folder, *folder.parents) if not path.exists()]
            # An existing one may have been created by a run that died before its name was durable.
            inside = [path for path in (folder, *folder.parents) if path.is_relative_to(self._root)]
            self._made.extend(reversed(missing))
            for path in reversed(missing):  # `parents=True` would give the mode to the last one only
                path.mkdir(self._mode, exist_ok=True)
            for path in {*missing, *inside} - self._durable:
                self._sync_name(path, new=path in missing)
            self._durable.update(inside)

    def remove_made(self) -> None:
        with self._lock:
            for path in sorted(self._made, key=lambda path: len(path.parts), reverse=True):
                with suppress(OSError):  # not empty, or already gone
                    path.rmdir()
            self._durable.clear()

    def _sync_name(self, path: Path, *, new: bool) -> None:
        try:
            sync_folder(path.parent)
        except PermissionError:
            # A folder of another user, who alone may read its parent.
            if new:
                raise
