"""What the workers of a verification hand over, and the ledger that takes it in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from ddbio.audit.stage import Row, Stage
from ddbio.errors import LedgerError
from ddbio.ledger.entries import Commit, JournalEntry
from ddbio.ledger.law import VerifyLaw
from ddbio.ledger.ledger import Ledger


class Found(msgspec.Struct, frozen=True):
    """What one commit of a verification carries. Everything except `rows` is in the last commit of a split."""

    rows: list[Row] = []
    """Both sides of the keys for which the sides differ within the segment."""
    handed_over: int = 0
    """Rows in all commits of the split."""
    scanned: int = 0
    """Items of the table."""
    problems: list[str] = []
    """What is wrong with the files, a sentence each."""


pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Found).decode


class AuditLedger(Ledger):
    """The ledger of a verification, which can't be resumed: nothing in it outlives the process.

    Rows are added to `rest`, where keys that have moved to another segment are matched. `tell` is called with each
    problem when the split in which it was found is done.
    """

    def __init__(self, rest: Stage, tell: Callable[[str], None]) -> None:
        super().__init__(VerifyLaw())
        self._rest = rest
        self._tell = tell
        self._received: Counter[int] = Counter()
        """Rows by split, of splits that are not done."""
        self._problems: dict[int, list[str]] = {}
        self.scanned = 0

    @property
    def problems(self) -> list[str]:
        """What is wrong with the files, in the order of the splits."""
        return [problem for _, problems in sorted(self._problems.items()) for problem in problems]

    async def forget(self, splits: Iterable[int]) -> None:
        """Discard what was found in these splits, which begin again."""
        for split in splits:
            if self._received.pop(split, 0):
                await self._rest.run(self._rest.drop, split)

    async def _make_durable(self, entries: list[JournalEntry]) -> None:
        for entry in entries:
            if isinstance(entry, Commit):
                await self._take_in(entry.split, _unpack(entry.found), done=entry.done)

    async def _take_in(self, split: int, found: Found, *, done: bool) -> None:
        if found.rows:
            self._received[split] += len(found.rows)
            await self._rest.run(self._rest.add, found.rows)
        if not done:
            return
        received = self._received.pop(split, 0)
        if received != found.handed_over:
            raise LedgerError(
                f"Split {split}: {found.handed_over:,} rows were handed over, but {received:,} arrived.",
                hint="Do not trust the result; please report this.",
            )
        self.scanned += found.scanned
        if found.problems:
            self._problems[split] = found.problems
            for problem in found.problems:
                self._tell(problem)
