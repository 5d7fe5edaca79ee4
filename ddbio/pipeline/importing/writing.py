"""Writing: batches of records into the table, paid for, repeated until every record is in or refused."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ddbio.codec import EncodedRecord, RecordEncoder, weigh
from ddbio.errors import CorruptReplyError, RefusedError
from ddbio.model import Put
from ddbio.pipeline.importing.batcher import Batch
from ddbio.pipeline.meter import Meter
from ddbio.pipeline.requests import CostRatio, Requester
from ddbio.wire.dynamodb import DynamoDB

SPLIT_CODES = frozenset({"ValidationException", "ItemCollectionSizeLimitExceededException", "RequestEntityTooLarge"})
"""Refusals that one record of a batch can cause; nothing of such a batch was written."""
BATCH_SECONDS = 1.0
"""A batch of several items may cost so many seconds' worth of the budget."""
FIRST_SECONDS = 0.25
"""Until a reply has told what items cost that others take the place of, a batch takes so many seconds' worth of the
budget: no other goes out meanwhile, as it might cost far more than was foreseen."""


class Outcome:
    """What became of a batch."""

    def __init__(self) -> None:
        self.written: list[EncodedRecord] = []
        self.unprocessed: list[EncodedRecord] = []
        self.refused: list[tuple[EncodedRecord, str]] = []


class TableWriter:
    """Sends batches to one table. `echo` reads the records that the service sends back unprocessed."""

    def __init__(
        self, table: str, *, dynamodb: DynamoDB, requester: Requester, meter: Meter, echo: RecordEncoder
    ) -> None:
        self._table = table
        self._dynamodb = dynamodb
        self._requester = requester
        self._meter = meter
        self._echo = echo
        self._ratio = CostRatio()
        self._rate = 0.0

    @property
    def affordable(self) -> float:
        """The most write units, as `weigh` counts them, that a batch of several items may cost.

        A job that is paused (rate 0) will go on as before.
        """
        self._rate = self._requester.rate or self._rate
        return self._rate * BATCH_SECONDS / self._ratio.value

    async def write(self, batch: Batch) -> Outcome:
        """Send one batch; where the service refuses it as a whole, halve it until the bad record stands alone.

        Raises WireError where the table can't be written.
        """
        outcome = Outcome()
        waiting = [batch]
        while waiting:
            batch = waiting.pop()
            try:
                await self._send(batch, outcome)
            except RefusedError as error:
                if error.code not in SPLIT_CODES:
                    raise
                if len(batch.entries) == 1:
                    outcome.refused.append((batch.entries[0], error.message))
                else:
                    waiting += batch.halves()
        return outcome

    async def _send(self, batch: Batch, outcome: Outcome) -> None:
        requests = [entry.request for entry in batch.entries]
        send = partial(self._dynamodb.batch_write, self._table, requests, batch.size)
        reply, permit = await self._requester.run(lambda: self._estimate(batch.units), send)
        written, units = batch.entries, batch.units
        if reply.unprocessed:
            returned = self._match(written, reply.unprocessed)
            written = [entry for entry in written if entry not in returned]
            _, units = weigh(written)
            permit.refuse(1 - units / batch.units)
            outcome.unprocessed += returned
            self._meter.returned += sum(not entry.returned for entry in returned)
        # Learnt before it is settled: who goes next is estimated then.
        actual, first = reply.capacity, not self._ratio.known
        if actual is None:
            actual = units * self._ratio.value
        self._ratio.learn(units, actual)
        permit.settle(actual, evenly=first)
        outcome.written += written
        self._meter.items += len(written)
        if written:
            self._requester.deadline.touch()

    def _estimate(self, units: int) -> float:
        """What a batch of so many write units will probably cost."""
        return units * self._ratio.value if self._ratio.known else max(units, self._requester.rate * FIRST_SECONDS)

    def _match(self, entries: list[EncodedRecord], items: Sequence[bytes]) -> list[EncodedRecord]:
        """Our own records for the items that came back, told by their keys."""
        by_key = {entry.key: entry for entry in entries}
        matched = []
        for item in items:
            put = self._echo.encode(item)
            if not isinstance(put, Put) or put.key not in by_key:
                raise CorruptReplyError("The service sent back an unprocessed item that was not in the request.")
            matched.append(by_key.pop(put.key))
        return matched
