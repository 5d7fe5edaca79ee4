"""The progress of one span: which of its records are settled, which were rejected, and what is committed."""

from __future__ import annotations

from dataclasses import dataclass

from ddbio.clock import Clock
from ddbio.codec.framing import Record
from ddbio.errors import LedgerError
from ddbio.ledger.entries import Lease, Reject, by_reason
from ddbio.ledger.positions import AtOffset
from ddbio.model import Reason
from ddbio.pipeline.importing.watermark import Watermark
from ddbio.pipeline.meter import Meter
from ddbio.pipeline.outbox import Committer, Outbox
from ddbio.pipeline.tuning import Tuning


@dataclass(eq=False, repr=False)
class SpanProgress:
    """Accounts for every record of a span, and commits up to where all are settled; rejects name the `location`."""

    lease: Lease
    location: str
    outbox: Outbox
    meter: Meter
    clock: Clock
    tuning: Tuning

    def __post_init__(self) -> None:
        position = self.lease.position
        self.start = position.offset if isinstance(position, AtOffset) else self.lease.split.start
        self._committer = Committer(self.lease, self.outbox)
        self._watermark = Watermark(self.start)
        self.opened = self._watermark.opened
        self._found = self._passed = self._bytes = 0
        self.reject_bytes = 0
        """Approximate memory of the rejects that are not reported."""
        self._committed_at = self.clock.now()

    @property
    def intact(self) -> bool:
        """Whether no commit was cancelled on its way to the outbox."""
        return self._committer.intact

    @property
    def ahead_bytes(self) -> int:
        """Approximate memory of the records from the first that is not settled on."""
        self._watermark.move()
        return self._watermark.held_bytes

    @property
    def held_bytes(self) -> int:
        """The same, and that of the rejects that are not reported."""
        return self.ahead_bytes + self.reject_bytes

    def read(self, size: int, found: int) -> None:
        """Count bytes that were read, and the records found in them."""
        self._bytes += size
        self._found += found

    def reject(self, record: Record, reason: Reason, message: str) -> None:
        reject = Reject(
            source=self.location,
            offset=record.offset,
            length=record.length,
            line=record.line,
            reason=reason.value,
            message=message,
            raw=record.data if 0 < len(record.data) <= self.tuning.raw_bytes else None,
        )
        self.reject_bytes += _weight(reject)
        self._watermark.rejected(reject)

    async def commit_if_due(self) -> None:
        """Commit, unless the last commit was a moment ago."""
        if self.clock.now() - self._committed_at >= self.tuning.commit_seconds:
            await self.commit()

    async def commit(self, *, done: bool = False, wait: bool = False) -> None:
        """Commit what is settled; `wait` until that is durable. Raises LedgerError if `done` and something is open."""
        self._committed_at = self.clock.now()
        settled = self._watermark.advance()
        self._passed += settled.read
        if done and self._found != self._passed:
            raise LedgerError(f"{self.lease.split.file}: found {self._found:,} records, but settled {self._passed:,}.")
        self.reject_bytes -= sum(map(_weight, settled.rejects))
        size, self._bytes = self._bytes, 0
        self.meter.bytes += size
        commit = self._committer.commit_and_wait if wait else self._committer.commit
        await commit(
            AtOffset(settled.position),
            done=done,
            read=settled.read,
            written=settled.written,
            bytes=size,
            rejected=len(settled.rejects),
            rejects=settled.rejects,
            reasons=by_reason(settled.rejects),
        )


def _weight(reject: Reject) -> int:
    return 1_024 + len(reject.raw or b"")
