"""What `--capacity` means: from the option to the units a second that a job may use on its table."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import inf

from ddbio.aws.table import TableInfo
from ddbio.capacity import Budget, Pace
from ddbio.errors import UsageError
from ddbio.jobs.opening import Services
from ddbio.options import Capacity
from ddbio.words import plain

NEW_ON_DEMAND_READ = 12_000.0
NEW_ON_DEMAND_WRITE = 4_000.0
"""What a new on-demand table serves at once (Developer Guide, "On-demand capacity mode")."""

PaceOf = Callable[[Capacity, TableInfo], Pace]


def read_pace(capacity: Capacity, table: TableInfo) -> Pace:
    """Read units per second for the whole job; raises UsageError if the table does not have that many."""
    return _pace(capacity, table, "read", table.read_capacity, table.max_on_demand_read, NEW_ON_DEMAND_READ)


def write_pace(capacity: Capacity, table: TableInfo) -> Pace:
    """Write units per second for the whole job; raises UsageError if the table does not have that many."""
    return _pace(capacity, table, "write", table.write_capacity, table.max_on_demand_write, NEW_ON_DEMAND_WRITE)


def _pace(
    capacity: Capacity, table: TableInfo, kind: str, known: float | None, maximum: float | None, new: float
) -> Pace:
    limit = maximum if table.billing == "on-demand" else known
    basis = min(known or new, maximum or inf)
    if capacity.auto:
        most = min(capacity.units or inf, limit or inf)
        return Pace(min(basis / 2, most), most)
    if capacity.percent is not None:
        return Pace(basis * capacity.percent / 100)
    units = capacity.units or 0.0
    if limit is not None and units > limit:
        what = "a maximum" if table.billing == "on-demand" else "a provisioned throughput"
        place = f"Index {table.index} of table {table.name}" if table.index else f"Table {table.name}"
        raise UsageError(
            f"A capacity of {plain(units)} was asked for, but {place[0].lower()}{place[1:]} has {what} of "
            f"{plain(limit)} {kind} units a second.",
            hint=f"Give at most {plain(limit)}, or a share such as 50%.",
        )
    return Pace(units)


def foreseen(pace: Pace) -> float:
    """The units a second that processes are started for: a budget that adapts may double."""
    return pace.start if pace.most is None else min(2 * pace.start, pace.most)


@asynccontextmanager
async def steered(
    services: Services, table: str, index: str | None, capacity: Capacity, pace_of: PaceOf
) -> AsyncIterator[tuple[TableInfo, Budget, Pace]]:
    """Describe the table and let the job's `Control` set the budget for as long as the context is open.

    Yields the table, the budget, and the pace that processes are started for.
    """
    session = services.session

    async def plan(changed: Capacity) -> Pace:
        return pace_of(changed, await session.describe_table(table, index))

    info = await session.describe_table(table, index)
    pace = pace_of(capacity, info)
    budget = Budget(pace)
    async with services.control.steering(budget, plan, capacity):
        yield info, budget, max(pace, budget.pace, key=foreseen)
