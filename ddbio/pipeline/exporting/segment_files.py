"""The files of one segment: cut between pages, committed part by part, sealed once the coordinator knows the whole."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple

import msgspec
from isal.isal_zlib import crc32

from ddbio.clock import Clock
from ddbio.codec.compression import compress
from ddbio.codec.fingerprint import MASK
from ddbio.hints import PathTypes
from ddbio.ledger.entries import FileState, Lease
from ddbio.ledger.positions import END, AfterKey, Position
from ddbio.model import Page
from ddbio.names import file_name
from ddbio.pipeline.job import ExportJob
from ddbio.pipeline.outbox import Committer, Outbox
from ddbio.pipeline.tuning import DEFAULT, Tuning
from ddbio.storage.base import OutputFile, Sink

MEGABYTE = 1024 * 1024


@dataclass(slots=True)
class _Current:
    """The file that is being written, and what it contains."""

    file: OutputFile
    segment: int
    number: int
    first: Position
    last: Position
    read: int = 0
    items: int = 0
    size: int = 0
    crc: int = 0
    fingerprint: int = 0
    fingerprinted: bool = True
    parts_recorded: int = 0
    """The number of parts of its token that are in commits."""

    def add(self, page: Page, block: bytes) -> None:
        self.last = position_after(page)
        self.read += page.count
        self.items += page.items
        self.size += len(block)
        self.crc = crc32(block, self.crc)
        self.fingerprint = (self.fingerprint + page.fingerprint) & MASK

    def state(self, *, sealed: bool = False) -> FileState:
        return FileState(
            name=self.file.name,
            segment=self.segment,
            number=self.number,
            first=self.first,
            last=self.last,
            read=self.read,
            items=self.items,
            bytes=self.size,
            crc32=self.crc,
            sealed=sealed,
            fingerprint=f"{self.fingerprint:016x}" if self.fingerprinted else None,
        )


def position_after(page: Page) -> Position:
    """The position after this page; `END` after the last page of the segment."""
    return END if page.last_key is None else AfterKey(page.last_key.decode())


class _Mark(NamedTuple):
    """The end of a page: the state of the file there, and the position after it."""

    state: FileState | None
    position: Position
    read: int
    written: int
    bytes: int


@dataclass(eq=False, repr=False)
class SegmentFiles:
    """Writes the pages of one leased segment. `finish` or `leave` ends it."""

    job: ExportJob
    _: KW_ONLY
    lease: Lease
    sink: Sink
    outbox: Outbox
    executor: Executor
    clock: Clock
    tuning: Tuning = DEFAULT

    def __post_init__(self) -> None:
        self._options = self.job.options
        self._segment = self.lease.split.id
        self._committer = Committer(self.lease, self.outbox)
        self._max_bytes = self._options.file_size_mb * MEGABYTE
        self._next_number = self.lease.number
        self._current: _Current | None = None
        self._marks: deque[_Mark] = deque()
        self._written_to = self._position = self.lease.position
        self._types = PathTypes()
        self._committed_at = self.clock.now()

    async def add(self, page: Page) -> int:
        """Write one page, in a new file if it does not fit; return the number of bytes written."""
        size = await self._write(page) if page.items else 0
        state = self._current.state() if self._current else None
        self._written_to = position_after(page)
        self._marks.append(_Mark(state, self._written_to, page.count, page.items, size))
        self._types.merge(page.types)
        if self.clock.now() - self._committed_at >= self.tuning.commit_seconds:
            await self._commit_durable()
            self._committed_at = self.clock.now()
        return size

    async def finish(self) -> None:
        """Seal the last file, and commit that the segment is done."""
        state = await self._close(self._current) if self._current else None
        await self._commit(0)
        await self._committer.commit(self._position, file=state, types=self._types.masks, done=True)

    async def save(self) -> None:
        """Commit what was written since the last commit, if that is quick; for a segment that is cancelled."""
        if self._committer.intact:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.tuning.save_seconds):
                    await self._commit_durable()

    async def leave(self) -> None:
        """Close the file that is not sealed, if there is one; recovery seals or removes it."""
        if self._current is not None:
            await self._current.file.leave()
            self._current = None

    async def _write(self, page: Page) -> int:
        kind, block = self._options.compress, page.records
        if kind != "none":
            block = await asyncio.get_running_loop().run_in_executor(self.executor, compress, kind, block)
        if self._current is not None and self._current.size + len(block) > self._max_bytes:
            state = await self._close(self._current)
            await self._committer.commit(self._position, file=state)
        if self._current is None:
            self._current = await self._open()
        await self._current.file.write(block)
        self._current.add(page, block)
        return len(block)

    async def _open(self) -> _Current:
        number = self._next_number
        name = file_name(self.job.table.name, self._segment, number, self._options.compress)
        file = await self.sink.create(name, max_bytes=self._max_bytes)
        self._next_number += 1
        at = self._written_to
        return _Current(file, self._segment, number, first=at, last=at, fingerprinted=self._options.fingerprint)

    async def _close(self, current: _Current) -> FileState:
        """Seal the current file, once the coordinator has made durable that it is complete."""
        await self._commit(await current.file.finish())
        await self._committer.commit_and_wait(self._position, file=self._with_token(current.state()))
        await current.file.seal()
        self._current = None
        return current.state(sealed=True)

    async def _commit_durable(self) -> None:
        await self._commit(await self._current.file.sync() if self._current else 0)

    async def _commit(self, durable: int) -> None:
        """Commit the pages that end at or before the offset `durable` of the current file."""
        passed: list[_Mark] = []
        while self._marks and (self._marks[0].state is None or self._marks[0].state.bytes <= durable):
            passed.append(self._marks.popleft())
        if not passed:
            return
        self._position = passed[-1].position
        types, self._types = self._types.masks, PathTypes()
        await self._committer.commit(
            self._position,
            file=self._with_token(passed[-1].state),
            read=sum(mark.read for mark in passed),
            written=sum(mark.written for mark in passed),
            bytes=sum(mark.bytes for mark in passed),
            types=types,
        )

    def _with_token(self, state: FileState | None) -> FileState | None:
        if state is None or self._current is None:
            return state
        token = self._current.file.resume_token
        if token is None:
            return state
        token = token.since(self._current.parts_recorded)
        self._current.parts_recorded = token.parts_recorded
        return msgspec.structs.replace(state, token=token)
