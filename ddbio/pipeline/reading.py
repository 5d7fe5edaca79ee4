"""Reading: the records of one span of a file, wherever it is stored and however it is compressed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import Executor
from contextlib import aclosing

from ddbio.codec.compression import CorruptStreamError, Decompressor, TruncatedStreamError
from ddbio.codec.framing import LineFramer, Record
from ddbio.errors import SourceError
from ddbio.ledger.entries import Unit
from ddbio.storage.base import Source, SourceFile

MAX_RECORD = 16 * 1024 * 1024
"""A longer record can't be written: BatchWriteItem takes 16 MB (API Reference)."""


class SpanReader:
    """Reads spans from `source`; decompression happens in `executor`."""

    def __init__(self, source: Source, executor: Executor) -> None:
        self._source = source
        self._executor = executor

    async def records(self, unit: Unit) -> AsyncGenerator[list[Record]]:
        """The records whose first byte lies in the span, some at a time, in the order of the file.

        Raises SourceError where the file can't be read, has changed, or is broken.
        """
        framer = LineFramer(unit.start, limit=MAX_RECORD, stop=unit.end)
        async with aclosing(self._chunks(unit)) as chunks:
            async for chunk in chunks:
                yield framer.feed(chunk)
                if framer.done:
                    return
        yield framer.end()

    async def _chunks(self, unit: Unit) -> AsyncGenerator[bytes]:
        """The file's bytes from just before the span, decompressed."""
        file = SourceFile(unit.file, unit.size, unit.tag, unit.compression)
        async with aclosing(self._source.read(file, max(unit.start - 1, 0))) as stored:
            if unit.compression == "none":
                async for chunk in stored:
                    yield chunk
                return
            decompressor = Decompressor(unit.compression)
            try:
                async for chunk in stored:
                    pieces = decompressor.feed(chunk)
                    while (piece := await self._next(pieces)) is not None:
                        yield piece
                decompressor.end()
            except (CorruptStreamError, TruncatedStreamError) as error:
                raise SourceError(
                    f"{unit.file} is not a whole {unit.compression} file: {error}",
                    hint="Everything before the fault was imported; get the file again and import it once more.",
                ) from error

    async def _next(self, pieces: Iterator[bytes]) -> bytes | None:
        return await asyncio.get_running_loop().run_in_executor(self._executor, next, pieces, None)
