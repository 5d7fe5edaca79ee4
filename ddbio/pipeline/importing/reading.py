"""Reading: the lines of one span of a file, wherever it is stored and however it is compressed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass
from typing import NamedTuple

from ddbio.codec import RecordEncoder
from ddbio.codec.compression import CorruptStreamError, Decompressor, TruncatedStreamError
from ddbio.codec.framing import Block, LineFramer
from ddbio.errors import SourceError
from ddbio.ledger.entries import Split
from ddbio.pipeline.importing.recognition import HEAD_BYTES
from ddbio.storage.base import Source, SourceFile

MAX_RECORD = 16 * 1024 * 1024
"""Longer records can't be written: the limit of a BatchWriteItem request is 16 MB (API Reference)."""


@dataclass(frozen=True)
class SpanReader:
    """Reads spans from `source`; decompression happens in `executor`."""

    source: Source
    executor: Executor

    def location_of(self, split: Split) -> str:
        return self.source.location_of(split.file)

    async def blocks(self, split: Split, start: int, head: bytearray | None = None) -> AsyncGenerator[list[Block]]:
        """The lines of the span that begin at `start` or later, in blocks, in the order of the file.

        A compressed file is read from its beginning, whatever `start` is. The first bytes of the file are appended to
        `head`, if they are read. Raises SourceError where the file can't be read, has changed, or is damaged.
        """
        first = start if split.compression == "none" else 0
        framer = LineFramer(first, limit=MAX_RECORD, stop=split.end)
        async with aclosing(self._chunks(split, max(first - 1, 0))) as chunks:
            async for chunk in chunks:
                if head is not None and not first:
                    head += chunk[: HEAD_BYTES - len(head)]
                yield _after(start, framer.feed(chunk))
                if framer.done:
                    return
        yield _after(start, framer.end())

    async def _chunks(self, split: Split, first: int) -> AsyncGenerator[bytes]:
        file = SourceFile(split.file, split.size, split.tag, split.compression)
        async with aclosing(self.source.read(file, first)) as stored:
            if split.compression == "none":
                async for chunk in stored:
                    yield chunk
                return
            decompressor = Decompressor(split.compression)
            try:
                async for chunk in stored:
                    pieces = decompressor.feed(chunk)
                    while (piece := await self._next(pieces)) is not None:
                        yield piece
                decompressor.end()
            except (CorruptStreamError, TruncatedStreamError) as error:
                raise SourceError(
                    f"{self.location_of(split)} is not a whole {split.compression} file: {error}",
                    hint="Everything before the fault was imported; get the file again and import it once more.",
                ) from error

    async def _next(self, pieces: Iterator[bytes]) -> bytes | None:
        return await asyncio.get_running_loop().run_in_executor(self.executor, next, pieces, None)


class Input(NamedTuple):
    """One source: what reads its files, and what encodes their records."""

    reader: SpanReader
    encoder: RecordEncoder


def _after(start: int, blocks: list[Block]) -> list[Block]:
    return [part for block in blocks if (part := block.after(start))]
