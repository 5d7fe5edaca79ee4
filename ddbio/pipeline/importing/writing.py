"""Writing: one batch of records into the table, paid for, and what became of each record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import partial

from ddbio.capacity import Permit
from ddbio.codec import EncodedRecord, RecordEncoder, weigh
from ddbio.errors import CorruptReplyError, RefusedError
from ddbio.model import Put
from ddbio.pipeline.importing.batcher import Batch
from ddbio.pipeline.meter import Meter
from ddbio.pipeline.requests import CostRatio, Requester
from ddbio.pipeline.tuning import DEFAULT, Tuning
from ddbio.wire.dynamodb import DynamoDB
from ddbio.wire.replies import BatchReply

SPLIT_CODES = frozenset({"ValidationException", "ItemCollectionSizeLimitExceededException", "RequestEntityTooLarge"})
"""Error codes that a single record can cause; the service then writes nothing of the batch."""


@dataclass(slots=True)
class Outcome:
    """What became of a batch."""

    written: list[EncodedRecord] = field(default_factory=list)
    unprocessed: list[EncodedRecord] = field(default_factory=list)
    refused: list[tuple[EncodedRecord, str]] = field(default_factory=list)
    halves: list[Batch] = field(default_factory=list)
    """The batch in two parts, where the service refused it as a whole because of one of its records."""


@dataclass(eq=False, repr=False)
class TableWriter:
    """Sends batches to one table. `echo` parses the records that the service returns as unprocessed."""

    table: str
    _: KW_ONLY
    dynamodb: DynamoDB
    requester: Requester
    meter: Meter
    echo: RecordEncoder
    tuning: Tuning = DEFAULT

    def __post_init__(self) -> None:
        self._ratio = CostRatio()
        self._rate = 0.0

    @property
    def affordable(self) -> float:
        """The most write units, as `weigh` counts them, that a batch of several items may cost."""
        self._rate = self.requester.rate or self._rate  # the last rate stands while the job is paused
        return self._rate * self.tuning.batch_seconds / self._ratio.value

    async def write(self, batch: Batch) -> Outcome:
        """Send one batch. Raises WireError where the table can't be written."""
        requests = [entry.request for entry in batch.entries]
        send = partial(self.dynamodb.batch_write, self.table, requests, batch.size)
        try:
            reply, permit = await self.requester.run(lambda: self._estimate(batch.units), send)
        except RefusedError as error:
            return _refused(batch, error)
        return self._take_in(batch, reply, permit)

    def _take_in(self, batch: Batch, reply: BatchReply, permit: Permit) -> Outcome:
        written, units, returned = batch.entries, batch.units, list[EncodedRecord]()
        if reply.unprocessed:
            returned = self._match(written, reply.unprocessed)
            written = [entry for entry in written if entry not in returned]
            _, units = weigh(written)
            permit.refuse(1 - units / batch.units)
            self.meter.returned += sum(not entry.returned for entry in returned)
        # The ratio learns before the permit is settled, which lets the next request estimate its cost.
        actual, first = reply.capacity, not self._ratio.known
        if actual is None:
            actual = units * self._ratio.value
        self._ratio.learn(units, actual)
        permit.settle(actual, evenly=first)
        self.meter.items += len(written)
        if written:
            self.requester.deadline.touch()
        return Outcome(written, returned)

    def _estimate(self, units: int) -> float:
        if self._ratio.known:
            return units * self._ratio.value
        return max(units, self.requester.rate * self.tuning.first_batch_seconds)

    def _match(self, entries: list[EncodedRecord], items: Sequence[bytes]) -> list[EncodedRecord]:
        """The records whose items were returned, identified by their keys."""
        by_key = {entry.key: entry for entry in entries}
        matched = []
        for item in items:
            put = self.echo.encode(item)
            if not isinstance(put, Put) or put.key not in by_key:
                raise CorruptReplyError("The service returned an unprocessed item that was not in the request.")
            matched.append(by_key.pop(put.key))
        return matched


def _refused(batch: Batch, error: RefusedError) -> Outcome:
    """The outcome of a batch that was refused; raises `error` where no single record can be the cause."""
    if error.code not in SPLIT_CODES:
        raise error
    if len(batch.entries) == 1:
        return Outcome(refused=[(batch.entries[0], error.message)])
    return Outcome(halves=batch.halves())
