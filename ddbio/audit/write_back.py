"""The repair: items written back from the files, within a budget."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import Executor
from contextlib import aclosing

from ddbio.codec import RecordEncoder
from ddbio.codec.framing import Block, Record, records
from ddbio.errors import SourceError
from ddbio.ledger.entries import Split
from ddbio.pipeline.importing.reading import SpanReader
from ddbio.pipeline.importing.sending import Sender
from ddbio.storage.base import Source, SourceFile

Places = AsyncGenerator[tuple[int, int]]
"""File numbers and offsets, in ascending order."""


class Repair:
    """Writes records of the files of an export to a table; `files` are the files by the numbers in places.

    `refused` is called with the reason if a record can't be written.
    """

    def __init__(
        self,
        source: Source,
        files: Mapping[int, SourceFile],
        *,
        encoder: RecordEncoder,
        sender: Sender,
        executor: Executor,
        refused: Callable[[str], None],
    ) -> None:
        self._reader = SpanReader(source, executor)
        self._files = files
        self._encoder = encoder
        self._sender = sender
        self._refused = refused

    async def write(self, places: Places) -> None:
        """Write the records at these places; returns when all are settled."""
        place = await anext(places, None)
        while place is not None:
            place = await self._from_file(place, places)
        while not self._sender.empty:
            await self._sender.push()

    async def _from_file(self, first: tuple[int, int], places: Places) -> tuple[int, int] | None:
        """Write the records of one file, reading it once; return the first place in another file."""
        number, offset = first
        file = self._files[number]
        place: tuple[int, int] | None = first
        async with aclosing(self._records(file, offset)) as records:
            async for record in records:
                if place == (number, record.offset):
                    await self._put(record)
                    place = await anext(places, None)
                    if place is None or place[0] != number:
                        return place
        raise SourceError(f"{file.name} was changed while it was read.", hint="Verify again once nobody writes to it.")

    async def _records(self, file: SourceFile, start: int) -> AsyncGenerator[Record]:
        split = Split(0, file.name, start, size=file.size, tag=file.tag, compression=file.compression)
        async with aclosing(self._reader.blocks(split, start)) as blocks:
            async for found in blocks:
                for record in records(found):
                    yield record

    async def _put(self, record: Record) -> None:
        entries, refused = self._encoder.encode_block(Block(record.offset, record.line, record.data))
        await self._sender.add(entries)
        for _, _, verdict in refused:
            self._refused(verdict.message)
