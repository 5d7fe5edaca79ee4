"""Recovery: a file that a lost worker, or an earlier run, has left is sealed at its last commit, or removed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec

from ddbio.ledger.entries import FileState, Recovered
from ddbio.ledger.ledger import Ledger
from ddbio.names import is_file_of
from ddbio.storage.base import Sink

SEALED_AT_ONCE = 16


async def recover(ledger: Ledger, sink: Sink, splits: Iterable[int] | None = None) -> None:
    """Seal every unsealed file that has a commit, of all splits or of these; where one is gone, its split goes back.

    Idempotent. Raises DestinationError, and JournalError where the journal may hold more than the ledger: a file sealed
    too early would not be what the journal says.
    """
    await ledger.settle()
    turns = asyncio.Semaphore(SEALED_AT_ONCE)

    async def settle(split: int, file: FileState) -> None:
        async with turns:
            there = await sink.recover(file.name, file.bytes, file.token)
            if not there:
                await sink.delete(file.name)
        state = msgspec.structs.replace(file, sealed=True, token=None) if there else file
        await ledger.record([Recovered(split, state, gone=not there)])

    try:
        async with asyncio.TaskGroup() as group:
            for split, file in ledger.open_files(splits):
                group.create_task(settle(split, file))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def sweep(ledger: Ledger, sink: Sink, table: str) -> None:
    """Remove unfinished files and uploads of this table's exports that no commit names."""
    await ledger.stop_compacting()
    await sink.sweep(is_file_of(table), {file.name for _, file in ledger.open_files()})
