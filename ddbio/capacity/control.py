"""Controlling a job while it runs."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from ddbio.capacity.adaptive import Budget, Pace
from ddbio.errors import UsageError
from ddbio.options import Capacity

Plan = Callable[[Capacity], Awaitable[Pace]]
"""What a capacity means for a table as it is now."""


class Control:
    """Controls a running job: pass one to `export_table`, `import_table` or `verify_export`, and call it from the same
    event loop.

    Changes take effect in every process within two seconds; those made before the job begins apply from its beginning.
    A Control serves one job at a time. The next job begins with the capacity of its own options, and not paused.
    """

    def __init__(self) -> None:
        self._paused = False
        self._capacity: Capacity | None = None
        self._budget: Budget | None = None
        self._plan: Plan | None = None
        self._one_by_one = asyncio.Lock()

    @property
    def paused(self) -> bool:
        """Whether no new requests are sent."""
        return self._paused

    async def set_capacity(self, capacity: Capacity) -> float | None:
        """Set the capacity of the whole job; a percentage refers to what the table has now.

        Returns the capacity units per second at which the job continues, or None before the job begins. Raises
        UsageError where the table has less, and PreflightError where it can't be described; before the job begins,
        `export_table` and `import_table` raise these instead.
        """
        async with self._one_by_one:
            budget, pace = self._budget, None
            if budget is not None and self._plan is not None:
                pace = await self._plan(capacity)
                budget.set(pace)
            if self._budget is budget:  # that job has not ended meanwhile
                self._capacity = capacity
            return pace and pace.start

    def pause(self) -> None:
        """Send no new requests; those in flight are completed."""
        self._set_paused(True)

    def resume(self) -> None:
        """Continue after a pause."""
        self._set_paused(False)

    @asynccontextmanager
    async def steering(self, budget: Budget, plan: Plan, capacity: Capacity) -> AsyncGenerator[None]:
        """Control the `budget` of a job that begins with this `capacity`; `plan` translates another one for its table.

        Raises UsageError where this Control serves another job.
        """
        if self._budget is not None:
            raise UsageError("A Control serves one job at a time.", hint="Give each job a Control of its own.")
        self._one_by_one = asyncio.Lock()  # of the job's own event loop
        self._budget, self._plan = budget, plan
        budget.paused = self._paused
        try:
            async with self._one_by_one:
                if self._capacity is None:
                    self._capacity = capacity
                else:
                    budget.set(await plan(self._capacity))
            yield
        finally:
            self._budget = self._plan = self._capacity = None
            self._paused = False

    async def follow_table(self) -> None:
        """If the budget adapts up to the capacity of the table, update that limit. Raises PreflightError."""
        async with self._one_by_one:
            budget = self._budget
            if budget is None or self._plan is None or self._capacity is None or budget.pace.most in (None, math.inf):
                return
            pace = await self._plan(self._capacity)
            if pace.most is not None:
                budget.limit(pace.most)

    def _set_paused(self, paused: bool) -> None:
        self._paused = paused
        if self._budget is not None:
            self._budget.paused = paused
