"""What the workers of a verification hand over, and the ledger that takes it in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from ddbio.audit.stage import Row, Stage
from ddbio.errors import LedgerError
from ddbio.ledger.entries import Commit, JournalEntry
from ddbio.ledger.ledger import Ledger


class Found(msgspec.Struct, frozen=True):
    """What one commit of a verification carries in its `found`. All but `rows` come with a split's last commit."""

    rows: list[Row] = []
    """Both sides of keys for which the sides differ within the segment."""
    handed_over: int = 0
    """Rows in all commits of the split."""
    scanned: int = 0
    """Items of the table."""
    problems: list[str] = []
    """What is wrong with the files, a sentence each."""


pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Found).decode


class Findings(Ledger):
    """The ledger of a verification, which can't be resumed: nothing here outlives the process.

    Rows are put on `rest`, where keys that moved to another segment meet their twins. `tell` is called with each
    problem, once the split that it was found in is done.
    """

    def __init__(self, rest: Stage, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._rest = rest
        self._tell = tell
        self._received: Counter[int] = Counter()
        """Rows of the splits that are not done."""
        self._problems: dict[int, list[str]] = {}
        self.scanned = 0

    @property
    def problems(self) -> list[str]:
        """What is wrong with the files, in the order of the splits, whoever was first to find it."""
        return [problem for _, problems in sorted(self._problems.items()) for problem in problems]

    async def forget(self, splits: Iterable[int]) -> None:
        """These splits begin again: what was found in them so far does not count."""
        for split in splits:
            if self._received.pop(split, 0):
                await self._rest.run(self._rest.drop, split)

    def check(self) -> None:
        """Raises LedgerError where rows of a split have come whose end has not."""
        if self._received:
            raise LedgerError(f"Segments were compared in part: {sorted(self._received)}.")

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
