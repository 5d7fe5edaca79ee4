"""A disk that loses its power: what is left of a folder at any instant, if the file system keeps no more than it must.

The calls that order a disk's work (fsync, fdatasync, rename, unlink, truncate, mkdir, rmdir) are recorded while the
code under test makes them, from whatever thread. Kept must be the bytes that a file held when it was last fsynced, and
the names that a folder held when it was last fsynced; the rest may have been kept, or not. Linux only.

    with recording(tmp_path) as disk:
        ...  # at any moment, `disk.point` says how much has happened
    for state in disk.states():
        ...  # state.folder is what is found after the power came back
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

_SYNCS = ("fsync", "fdatasync")
_CHANGES = ("rename", "replace", "unlink", "remove", "truncate", "ftruncate", "mkdir", "rmdir")
VARIANTS = ("least", "names", "torn", "all")
"""Kept is: only what must be; all names, but no bytes beyond these; all names and half of the bytes that might be
lost; everything (as after `kill -9`).
"""


@dataclass
class _Image:
    """Folders and files by inode: the names in a folder, and the bytes of a file."""

    names: dict[int, dict[str, int]] = field(default_factory=dict)
    bytes: dict[int, bytes] = field(default_factory=dict)

    def copy(self) -> _Image:
        return _Image(dict(self.names), dict(self.bytes))

    def below(self, folder: int) -> Iterator[int]:
        """Everything in a folder, itself included."""
        yield folder
        for inode in self.names.get(folder, {}).values():
            yield from self.below(inode)


class _Point(NamedTuple):
    call: str
    durable: _Image
    now: _Image


class State(NamedTuple):
    """What is found after a loss of power right after the call number `point` (`call` names it; 0: the beginning)."""

    point: int
    call: str
    variant: str
    folder: Path


class Disk:
    """The recording of one folder, which exists when it begins; all that it holds then is durable."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._root = folder.stat().st_ino
        self._lock = threading.RLock()
        self._open: dict[int, int] = {}
        self._versions: dict[int, tuple[int, int]] = {}
        self._now = _Image()
        self._look()
        self._durable = self._now.copy()
        self._points = [_Point("begin", self._durable.copy(), self._now.copy())]

    @property
    def point(self) -> int:
        """How many calls were recorded so far: what is durable now is so in every state from this point on."""
        with self._lock:
            return len(self._points) - 1

    def sync(self, name: str, call: Callable[..., Any], descriptor: int) -> Any:
        """Make and record a call that makes something durable: what was there before the call, and no more."""
        with self._lock:
            self._look()
            inode = os.fstat(descriptor).st_ino
            result = call(descriptor)
            if inode in self._now.bytes:
                self._durable.bytes[inode] = self._now.bytes[inode]
            if inode in self._now.names:
                self._sync_names(inode)
            self._add(name)
            return result

    def change(self, name: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Make and record a call that makes nothing durable."""
        with self._lock:
            self._look()
            try:
                return call(*args, **kwargs)
            finally:
                self._look()
                self._add(name)

    def close(self) -> None:
        """The recording is over."""
        for descriptor in self._open.values():
            os.close(descriptor)

    def states(self, variants: tuple[str, ...] = VARIANTS) -> Iterator[State]:
        """Every state that the power could have left, in order; a state's folder is gone when the next one comes."""
        for number, point in enumerate(self._points):
            for variant in variants:
                with tempfile.TemporaryDirectory() as parent:
                    folder = Path(parent, self._folder.name)
                    _write(_kept(point, variant), self._root, folder)
                    yield State(number, point.call, variant, folder)

    def _sync_names(self, folder: int) -> None:
        self._durable.names[folder] = self._now.names[folder]
        for inode in self._now.names[folder].values():
            if inode in self._now.names:
                self._durable.names.setdefault(inode, {})
            else:
                self._durable.bytes.setdefault(inode, b"")

    def _add(self, call: str) -> None:
        self._points.append(_Point(call, self._durable.copy(), self._now.copy()))
        known = {*self._durable.below(self._root), *self._now.below(self._root)}
        for inode in self._open.keys() - known:
            os.close(self._open.pop(inode))
            for memory in (self._durable.names, self._durable.bytes, self._versions):
                memory.pop(inode, None)

    def _look(self) -> None:
        """Take in what the folder holds by now."""
        self._now.names = {}
        self._walk(self._folder, self._root)
        there = set(self._now.below(self._root))
        self._now.bytes = {inode: data for inode, data in self._now.bytes.items() if inode in there}

    def _walk(self, folder: Path, inode: int) -> None:
        names = self._now.names[inode] = {}
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            stat = entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False):
                names[entry.name] = stat.st_ino
                if stat.st_ino not in self._open:
                    # Kept open, so that no other file gets its number.
                    self._open[stat.st_ino] = os.open(entry.path, os.O_RDONLY)
            if entry.is_dir(follow_symlinks=False):
                self._walk(Path(entry.path), stat.st_ino)
            elif entry.is_file(follow_symlinks=False):
                self._read(Path(entry.path), stat)

    def _read(self, path: Path, stat: os.stat_result) -> None:
        version = (stat.st_size, stat.st_mtime_ns)
        if stat.st_ino not in self._now.bytes or self._versions.get(stat.st_ino) != version:
            self._now.bytes[stat.st_ino] = path.read_bytes()
            self._versions[stat.st_ino] = version


def _kept(point: _Point, variant: str) -> _Image:
    durable, now = point.durable, point.now
    match variant:
        case "least":
            return durable
        case "names":
            return _Image(now.names, durable.bytes)
        case "torn":
            halves = {inode: _torn(durable.bytes.get(inode, b""), data) for inode, data in now.bytes.items()}
            return _Image(now.names, halves)
        case _:
            return now


def _torn(durable: bytes, now: bytes) -> bytes:
    """Half of what was appended."""
    return now[: (len(durable) + len(now)) // 2] if now.startswith(durable) else durable


def _write(image: _Image, inode: int, path: Path) -> None:
    if inode in image.names:
        path.mkdir()
        for name, child in image.names[inode].items():
            _write(image, child, path / name)
    else:
        path.write_bytes(image.bytes.get(inode, b""))


@contextmanager
def recording(folder: Path) -> Iterator[Disk]:
    """Record what happens to `folder`, which exists, and to all that is in it, until the end of the block."""
    disk = Disk(folder)
    with ExitStack() as stack:
        stack.callback(disk.close)
        for names, record in ((_SYNCS, disk.sync), (_CHANGES, disk.change)):
            for name in names:
                stack.enter_context(mock.patch.object(os, name, partial(record, name, getattr(os, name))))
        yield disk
