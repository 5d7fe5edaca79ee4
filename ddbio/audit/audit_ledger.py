"""The ledger of a verification: takes in what the workers hand over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from ddbio.audit.commits import AuditCommit
from ddbio.audit.staging import Staging
from ddbio.errors import LedgerError
from ddbio.ledger.entries import JournalEntry
from ddbio.ledger.law import VerifyLaw
from ddbio.ledger.ledger import Ledger


class AuditLedger(Ledger):
    """The ledger of a verification, which can't be resumed: nothing in it outlives the process.

    Rows are added to `rest`, where keys that have moved to another segment are matched. `tell` is called with each
    problem when the split in which it was found is done.
    """

    def __init__(self, rest: Staging, tell: Callable[[str], None]) -> None:
        super().__init__(VerifyLaw())
        self._rest = rest
        self._tell = tell
        self._received: Counter[int] = Counter()
        """Rows by split, of splits that are not done."""
        self._problems: dict[int, tuple[str, ...]] = {}
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
            if isinstance(entry, AuditCommit):
                await self._take_in(entry)

    async def _take_in(self, commit: AuditCommit) -> None:
        if commit.rows:
            self._received[commit.split] += len(commit.rows)
            await self._rest.run(self._rest.add, commit.rows)
        if not commit.done:
            return
        received = self._received.pop(commit.split, 0)
        if received != commit.handed_over:
            raise LedgerError(
                f"Split {commit.split}: {commit.handed_over:,} rows were handed over, but {received:,} arrived.",
                hint="Do not trust the result; please report this.",
            )
        self.scanned += commit.scanned
        if commit.problems:
            self._problems[commit.split] = commit.problems
            for problem in commit.problems:
                self._tell(problem)
