"""Other ways to keep a budget, in the same harness: processes with lanes that scan segments of one table."""

from __future__ import annotations

import asyncio
import json
import math
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from aiolimiter import AsyncLimiter

from ddbio.capacity import Governor, Permit
from ddbio.wire.dynamodb import ScanPlan
from tests.kit.fakes import VirtualClock, VirtualLoop
from tests.kit.sized import SizedTable

FIRST_ESTIMATE = 128.5


class LateLoop(VirtualLoop):
    """A loop that calls back half a millisecond late, as real ones do: aiolimiter tries again without end in time that
    stands still.
    """

    def call_at(self, when: float, *args: Any, **more: Any) -> asyncio.TimerHandle:  # type: ignore[override]
        return super().call_at(max(when, self.time()) + 0.0005, *args, **more)


class Limiter(Protocol):
    """What a lane asks before and tells after each page."""

    async def before(self, estimate: float) -> None:
        """Wait until a page may be asked for."""

    def after(self, actual: float) -> None:
        """It has cost so much."""


class SecondBucket:
    """Counts what each second has used, after the fact, and sleeps to the next one when that is too much."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._second = 0
        self._used = 0.0

    async def before(self, estimate: float) -> None:
        """See Limiter."""
        loop = asyncio.get_running_loop()
        while True:
            second = math.floor(loop.time())
            if second != self._second:
                self._second, self._used = second, 0.0
            if self._used < self._rate:
                return
            await asyncio.sleep(second + 1.000_001 - loop.time())

    def after(self, actual: float) -> None:
        """See Limiter."""
        self._used += actual


class LeakyBucket:
    """aiolimiter, which is told the cost of the page before; it can't take more than a second's worth at once."""

    def __init__(self, rate: float) -> None:
        self._limiter = AsyncLimiter(rate, 1)

    async def before(self, estimate: float) -> None:
        """See Limiter."""
        await self._limiter.acquire(min(estimate, self._limiter.max_rate))

    def after(self, actual: float) -> None:
        """Nothing can be corrected."""


class FixedShare:
    """ddbio's governor with an equal part of the budget, and nobody who moves parts."""

    def __init__(self, rate: float) -> None:
        self._governor = Governor(rate, VirtualClock())
        self._permits: deque[Permit] = deque()

    async def before(self, estimate: float) -> None:
        """See Limiter."""
        self._permits.append(await self._governor.acquire(lambda: estimate))

    def after(self, actual: float) -> None:
        """See Limiter."""
        self._permits.popleft().settle(actual)


KINDS: dict[str, type[SecondBucket | LeakyBucket | FixedShare]] = {
    "once-a-second bucket": SecondBucket,
    "aiolimiter": LeakyBucket,
    "fixed share per process": FixedShare,
}


def run_peer(kind: str, table: SizedTable, budget: float, processes: int, lanes: int) -> float:
    """Export the whole table; segment n belongs to process n % processes. Returns the virtual seconds it took."""

    async def process(number: int) -> None:
        limiter = KINDS[kind](budget / processes)
        segments = deque(range(number, len(table.counts), processes))
        await asyncio.gather(*(_lane(limiter, table, segments) for _ in range(lanes)))

    async def main() -> float:
        await asyncio.gather(*(process(number) for number in range(processes)))
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=LateLoop) as runner:
        return runner.run(main())


async def _lane(limiter: Limiter, table: SizedTable, segments: deque[int]) -> None:
    headers = {"X-Amz-Target": "DynamoDB_20120810.Scan"}
    estimate = FIRST_ESTIMATE
    while segments:
        plan = ScanPlan(table="T", segment=segments.popleft(), total_segments=len(table.counts))
        key: bytes | None = None
        while True:
            await limiter.before(estimate)
            page = json.loads((await table("", headers, plan.body(key))).body)
            if "Count" not in page:  # throttled
                limiter.after(0)
                await asyncio.sleep(0.05)
                continue
            estimate = page["ConsumedCapacity"]["CapacityUnits"]
            limiter.after(estimate)
            if "LastEvaluatedKey" not in page:
                break
            key = json.dumps(page["LastEvaluatedKey"]).encode()


def names() -> Sequence[str]:
    """Every peer."""
    return tuple(KINDS)
