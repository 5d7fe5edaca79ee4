"""Jobs whose credentials wear out again and again, from a provider that fails half of the time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tests.kit.chaos.exporting import check_files, local_files, plan_export
from tests.kit.chaos.importing import check_state, make_records, plan_import, write_source
from tests.kit.chaos.plans import until_done
from tests.kit.chaos.processes import Attempts, ChaosError
from tests.kit.chaos.relay import Pace
from tests.kit.chaos.values import difference, in_form
from tests.kit.chaos.world import World, staged
from tests.kit.faults.credentials import KeyRing
from tests.kit.faults.schedule import Schedule
from tests.kit.servers.aws import DEFAULT_KEY
from tests.kit.servers.tables import Table

TIMES = 10
"""So often at least the credentials wear out."""
LIFE = 10
"""Requests that a key is good for."""
REQUESTS = 160
FAILURES = 0.5


def _keys() -> KeyRing:
    return KeyRing(LIFE, failures=FAILURES, seed=1)


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The same without keys, but with the proxy's endpoint for them."""
    kept = {name: value for name, value in environment.items() if not name.endswith(("KEY", "KEY_ID"))}
    return {**kept, "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{environment['AWS_ENDPOINT_URL']}/_credentials"}


def _judge(keys: KeyRing) -> None:
    if keys.issued <= TIMES or not keys.refused or not keys.failed:
        raise ChaosError(f"{keys.issued} keys were issued, {keys.refused} requests refused, {keys.failed} failures")


async def export_with(world: World, folder: Path) -> None:
    """An export to a folder; every item must be there, at the first attempt."""
    items = 4_000
    plan = replace(
        *(plan_export(1),),
        **{"tables": "counting", "mode": "generated", "shape": "small", "items": items, "place": "folder"},
        **{"segments": 8, "concurrency": 2, "capacity": 50_000, "attempts": ()},
    )
    world.counting.tables[plan.table] = Table(name=plan.table, items=items, seed=plan.seed)
    tables, keys = await world.server("counting"), _keys()
    pace = Pace(items // REQUESTS, 0.05)
    async with staged(tables, pace, Schedule(1, {}), keys=keys) as stage:
        attempts = Attempts(plan.command(str(folder / "out")), _environment(stage.environment), folder, pace)
        await until_done(attempts, (), 0, may_stop=False)
    expected = in_form(await asyncio.to_thread(tables.items, plan.table), plan.form)
    check_files(plan, await asyncio.to_thread(local_files, folder / "out"), expected)
    _judge(keys)


async def import_with(world: World, folder: Path) -> None:
    """An import; every record must be in the table, at the first attempt."""
    plan = replace(
        *(plan_import(1),),
        **{"tables": "counting", "layout": "files", "records": 25 * REQUESTS, "text": 20, "repeated": 0, "bad": 5},
        **{"concurrency": 2, "capacity": 100_000, "attempts": ()},
    )
    world.counting.tables[plan.table] = Table(name=plan.table, mode="stored", key=DEFAULT_KEY)
    tables, keys, records = await world.server("counting"), _keys(), make_records(plan)
    await asyncio.to_thread(write_source, plan, records, folder / "in")
    pace = Pace(None, 0.05)
    async with staged(tables, pace, Schedule(1, {}), keys=keys) as stage:
        attempts = Attempts(plan.command(folder), _environment(stage.environment), folder, pace)
        await until_done(attempts, (), 3, may_stop=False)
    found = in_form(await asyncio.to_thread(tables.items, plan.table), "dynamodb-json")
    if told := difference(in_form(records.items, "dynamodb-json"), found):
        raise ChaosError(f"the source and the table differ: {told}")
    await asyncio.to_thread(check_state, folder / "state", records)
    _judge(keys)
