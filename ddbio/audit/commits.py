"""What the workers of a verification hand over."""

from __future__ import annotations

from typing import NamedTuple

from ddbio.ledger.entries import Commit

ROW_BYTES = 32
"""Approximate size of a row besides its key."""


class Row(NamedTuple):
    """One item of one side. `file` and `offset` say where it is in the files; both are None on the side of a table."""

    key: bytes
    fingerprint: int
    segment: int
    file: int | None = None
    offset: int | None = None

    @property
    def size(self) -> int:
        """The approximate size in bytes."""
        return len(self.key) + ROW_BYTES


class AuditCommit(Commit, frozen=True, tag="audit"):
    """A commit of a verification. Everything except `rows` is in the last commit of a split.

    `read` counts the records and `bytes` the bytes of the files.
    """

    rows: tuple[Row, ...] = ()
    """Both sides of the keys for which the sides differ within the segment."""
    handed_over: int = 0
    """Rows in all commits of the split."""
    scanned: int = 0
    """Items of the table."""
    problems: tuple[str, ...] = ()
    """What is wrong with the files, a sentence each."""

    @property
    def carried_bytes(self) -> int:
        return sum(row.size for row in self.rows)
