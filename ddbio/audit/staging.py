"""The staging table: the items of two sides on disk, and the keys for which the sides differ.

It is an unnamed temporary database of SQLite, which disappears with the process, however that ends. SQLite puts it into
the folder that SQLITE_TMPDIR or TMPDIR names. Rows of about 100 bytes are only added; SQLite sorts them at the end, in
`CACHE_KIB` of memory.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Iterable
from concurrent.futures import Executor
from functools import partial
from typing import Any, NamedTuple, TypeVar

from ddbio.audit.commits import Row
from ddbio.errors import JobFailedError
from ddbio.report import DifferenceKind

T = TypeVar("T")

CACHE_KIB = 8 * 1024
BATCH = 500
STEPS = 100_000
"""Steps of SQLite's virtual machine, of about 0.1 µs each, after which a statement checks whether to stop."""
_SIGN = 1 << 63
_TABLE = "CREATE TABLE entry (key BLOB, print INTEGER, segment INTEGER, file INTEGER, offset INTEGER)"
_ADD = "INSERT INTO entry VALUES (?, ?, ?, ?, ?)"
_UNEQUAL = """
    SELECT key, count(file) AS stored, count(*) - count(file) AS scanned, max(segment) AS segment,
           max(CASE WHEN file IS NOT NULL THEN rowid END) AS latest
    FROM entry GROUP BY key HAVING stored = 0 OR scanned = 0 OR min(print) <> max(print)
"""
_REST = f"SELECT * FROM entry WHERE key IN (SELECT key FROM ({_UNEQUAL}))"  # noqa: S608 - no outside text
_FINDINGS = f"""
    CREATE TABLE IF NOT EXISTS finding AS
    SELECT CASE WHEN scanned = 0 THEN 'missing' WHEN stored = 0 THEN 'extra' ELSE 'different' END AS kind,
           unequal.key, coalesce(entry.segment, unequal.segment) AS segment, entry.file, entry.offset
    FROM ({_UNEQUAL}) AS unequal LEFT JOIN entry ON entry.rowid = unequal.latest
    ORDER BY entry.file, entry.offset
"""  # noqa: S608


class Finding(NamedTuple):
    """One key for which the sides differ; `file` and `offset` are None where no file has it."""

    kind: DifferenceKind
    key: bytes
    segment: int
    file: int | None
    offset: int | None


class Staging:
    """One comparison. An async context manager; its calls run in threads of `executor`, one at a time.

    Every method raises JobFailedError where the database can't be used, usually because the disk is full.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._turn = asyncio.Lock()
        self._running: asyncio.Future[Any] | None = None
        self._db: sqlite3.Connection | None = None
        self._leaving = False

    async def __aenter__(self) -> Staging:
        try:
            await self.run(self._open)
        except asyncio.CancelledError:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._leaving = True
        if self._running is not None:
            await asyncio.wait([self._running])
        if self._db is not None:
            await self.run(self._db.close)

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a blocking function, which may use `add`."""
        async with self._turn:
            call = partial(function, *arguments)
            self._running = asyncio.get_running_loop().run_in_executor(self._executor, call)
            self._running.add_done_callback(_retrieve_error)
            try:
                # Shielded, since a thread can't be stopped; leaving the table waits for it.
                return await asyncio.shield(self._running)
            except sqlite3.Error as error:
                raise JobFailedError(
                    f"The temporary database of the comparison could not be used: {error}.",
                    hint="Free disk space there, or set TMPDIR to a folder that has it: about 200 bytes an item.",
                ) from error

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows; to be called within `run`."""
        self._open_db.executemany(_ADD, ((row[0], row[1] - _SIGN, *row[2:]) for row in rows))

    def drop(self, segment: int) -> None:
        """Remove the rows of a segment; to be called within `run`."""
        self._open_db.execute("DELETE FROM entry WHERE segment = ?", (segment,)).close()

    async def differing(self) -> AsyncGenerator[list[Row]]:
        """All rows of the keys for which the sides differ, in batches."""
        cursor = await self.run(self._execute, _REST)
        while rows := await self.run(cursor.fetchmany, BATCH):
            yield [Row(row[0], row[1] + _SIGN, *row[2:]) for row in rows]

    async def findings(self) -> AsyncGenerator[list[Finding]]:
        """The keys for which the sides differ, in batches, in the order of the files; those without a file come first.

        The comparison is made once; no rows may be added afterwards.
        """
        await self.run(self._execute, _FINDINGS)
        cursor = await self.run(self._execute, "SELECT * FROM finding ORDER BY rowid")
        while rows := await self.run(cursor.fetchmany, BATCH):
            yield [Finding(*row) for row in rows]

    def _open(self) -> None:
        # Any thread may use it, one at a time.
        self._db = sqlite3.connect("", check_same_thread=False)
        for setting in (f"cache_size = -{CACHE_KIB}", "temp_store = FILE", "journal_mode = OFF", "synchronous = OFF"):
            self._db.execute(f"PRAGMA {setting}").close()
        self._db.execute(_TABLE)
        # Not `interrupt`, which has no effect on a statement that is about to begin.
        self._db.set_progress_handler(lambda: self._leaving, STEPS)

    def _execute(self, statement: str) -> sqlite3.Cursor:
        return self._open_db.execute(statement)

    @property
    def _open_db(self) -> sqlite3.Connection:
        if self._db is None:
            raise RuntimeError("the staging table is not open")
        return self._db


def _retrieve_error(call: asyncio.Future[Any]) -> None:
    """Mark the error of a call as retrieved, since the caller may have been cancelled."""
    if not call.cancelled():
        call.exception()
