"""Steering a job while it runs."""

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
    """Steers a running job: hand one to `export_table`, `import_table` or `verify_export`, and call it from the same
    event loop.

    Every process keeps to a change within two seconds. What is called before the job begins holds from its beginning.
    One job at a time; the next one begins with the capacity of its own options, not paused.
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
        """Give the whole job this capacity from now on; the service is asked what the table has now.

        Returns how many units a second that is, or begins with; None before the job begins. Raises UsageError where
        the table does not have that much, PreflightError where it can't be asked; before the job begins,
        `export_table` and `import_table` do.
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
        """Send no new requests; what is on its way ends."""
        self._set_paused(True)

    def resume(self) -> None:
        """Go on after a pause."""
        self._set_paused(False)

    @asynccontextmanager
    async def steering(self, budget: Budget, plan: Plan, capacity: Capacity) -> AsyncGenerator[None]:
        """Set the `budget` of a job that begins with this `capacity`; `plan` says what another one means for its table.

        Raises UsageError where another job is steered.
        """
        if self._budget is not None:
            raise UsageError("A Control steers one job at a time.", hint="Give each job a Control of its own.")
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
        """Where the budget adapts up to what the table has, look what that is now. Raises PreflightError as above."""
        async with self._one_by_one:
            budget = self._budget
            if budget is None or self._plan is None or self._capacity is None:
                return
            if budget.pace.most in (None, math.inf):
                return
            pace = await self._plan(self._capacity)
            if pace.most is not None:
                budget.limit(pace.most)

    def _set_paused(self, paused: bool) -> None:
        self._paused = paused
        if self._budget is not None:
            self._budget.paused = paused
