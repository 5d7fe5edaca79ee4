"""One chaotic import: its plan, its run, and what must be there afterwards."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal

from tests.kit.chaos.plans import draw_blows, draw_rates, judge, pause, until_done
from tests.kit.chaos.processes import Attempts, Blow, ChaosError
from tests.kit.chaos.relay import Pace
from tests.kit.chaos.values import difference, in_form
from tests.kit.chaos.world import Tables, World, staged
from tests.kit.faults.account import FaultAccount, Served
from tests.kit.faults.schedule import Schedule
from tests.kit.servers.aws import DEFAULT_KEY
from tests.kit.servers.tables import Table

BATCH = 25
PROCESSES = 2
MANIFEST = "_ddbio/manifest.json"
Layout = Literal["one file", "files", "gzip", "spans"]


@dataclass(frozen=True, kw_only=True)
class ImportPlan:
    """Everything that a seed settles of an import.

    `text` is how long each item's text is, in characters; `before`: a put that was on its way at a blow is lost.
    """

    seed: int
    tables: Tables
    layout: Layout
    form: str
    records: int
    text: int
    repeated: int
    bad: int
    concurrency: int
    capacity: int
    pause: float
    rates: Mapping[str, float]
    attempts: tuple[tuple[Blow, ...], ...]
    before: bool

    @property
    def table(self) -> str:
        return f"T{self.seed}"

    def command(self, folder: Path) -> list[str]:
        """The arguments of the command line, the same for each attempt."""
        return [
            *("import", "-t", self.table, "-s", str(folder / "in"), "--state", str(folder / "state"), "--resume"),
            *("-p", str(PROCESSES), "-c", str(self.capacity), "--concurrency", str(self.concurrency), "--quiet"),
        ]


def plan_import(seed: int) -> ImportPlan:
    """The import that this seed stands for."""
    rng = Random(f"import {seed}")
    tables: Tables = rng.choices(("counting", "dynalite", "moto"), (84, 8, 8))[0]
    layout: Layout = rng.choices(("one file", "files", "gzip", "spans"), (15, 35, 20, 30))[0]
    records = rng.randint(400, 4_000) if tables == "counting" else rng.randint(400, 1_500)
    text = 2_500_000 // records if layout == "spans" else rng.randint(10, 300)
    concurrency = rng.choice((1, 2, 4, 8))
    return ImportPlan(
        seed=seed,
        tables=tables,
        layout=layout,
        form=rng.choice(("jsonl", "dynamodb-json")),
        records=records,
        text=text,
        # Of a key in several spans any line may win, and a plain file over a megabyte has several.
        repeated=rng.randint(1, 200) if layout in ("files", "gzip") and rng.random() < 0.3 else 0,
        bad=rng.choice((0, rng.randint(1, 60))),
        concurrency=concurrency,
        capacity=rng.choice((3_000, 20_000, 100_000)),
        pause=pause(records // BATCH, (1 if layout == "one file" else PROCESSES) * concurrency),
        rates=draw_rates(rng, 0.04),
        attempts=draw_blows(rng, records // BATCH),
        before=rng.random() < 0.7,
    )


@dataclass(frozen=True)
class Records:
    """The lines of the source, file by file; the items that the table must hold, and the lines that it can't."""

    files: list[list[str]]
    items: list[dict[str, Any]]
    bad: list[str]


def make_records(plan: ImportPlan) -> Records:
    """What this plan imports."""
    rng = Random(f"records {plan.seed}")
    parts = {"one file": 1, "spans": 1, "gzip": 3, "files": 4}[plan.layout]
    versions = [1] * plan.records
    files: list[list[str]] = [[] for _ in range(parts)]
    for number in range(plan.records):
        files[number % parts].append(_line(plan, number, 1))
    for number in rng.sample(range(plan.records), plan.repeated):
        versions[number] = 2
        files[number % parts].append(_line(plan, number, 2))
    bad = [_bad(rng, number) for number in range(plan.bad)]
    for line in bad:
        lines = rng.choice(files)
        lines.insert(rng.randint(0, len(lines)), line)
    return Records(files, [_item(plan, number, version) for number, version in enumerate(versions)], bad)


def _item(plan: ImportPlan, number: int, version: int) -> dict[str, Any]:
    return {
        "pk": {"S": f"k{number % 97}"},
        "sk": {"N": str(number)},
        "version": {"N": str(version)},
        "price": {"N": f"{number}.25"},
        "flag": {"BOOL": number % 2 == 0},
        "list": {"L": [{"N": "1"}, {"NULL": True}, {"M": {"a": {"S": "b"}}}]},
        "text": {"S": f"{number:x}é" * (plan.text // 5 + 1)},
    }


def _line(plan: ImportPlan, number: int, version: int) -> str:
    item = _item(plan, number, version)
    if plan.form == "dynamodb-json":
        return json.dumps({"Item": item})
    inner = [1, None, {"a": "b"}]
    given = {"pk": f"k{number % 97}", "sk": number, "version": version, "price": number + 0.25, "flag": number % 2 == 0}
    return json.dumps({**given, "list": inner, "text": item["text"]["S"]}, ensure_ascii=False)


def _bad(rng: Random, number: int) -> str:
    kinds = (
        '{{"pk": "bad {}"}}',
        '{{"pk": 7, "sk": {}}}',
        "no JSON {}",
        '{{"pk": "bad", "sk": {}',
        '{{"pk": "", "sk": {}}}',
    )
    return rng.choice(kinds).format(number)


async def run_import(plan: ImportPlan, world: World, folder: Path) -> dict[str, Any]:
    """Run it to its end and check everything; return what is worth a line. Raises ChaosError."""
    tables = await world.server(plan.tables)
    if plan.tables == "counting":
        world.counting.tables[plan.table] = Table(name=plan.table, mode="stored", key=DEFAULT_KEY)
    else:
        await asyncio.to_thread(tables.create_table, plan.table)
    records = make_records(plan)
    await asyncio.to_thread(write_source, plan, records, folder / "in")
    async with staged(tables, Pace(None, plan.pause, before=plan.before), Schedule(plan.seed, plan.rates)) as stage:
        attempts = Attempts(plan.command(folder), stage.environment, folder, stage.pace)
        await until_done(attempts, plan.attempts, 3 if plan.bad else 0, may_stop=False)
        found = in_form(await asyncio.to_thread(tables.items, plan.table), "dynamodb-json")
        if told := difference(in_form(records.items, "dynamodb-json"), found):
            raise ChaosError(f"the source and the table differ: {told}")
        await asyncio.to_thread(check_state, folder / "state", records)
        judge(stage.proxy.account, Served(0, plan.records + plan.repeated), attempts.disturbances)
    if plan.tables == "counting":
        del world.counting.tables[plan.table]
    else:
        await asyncio.to_thread(lambda: tables.client("dynamodb").delete_table(TableName=plan.table))
    return _told(plan, attempts, stage.proxy.account)


def write_source(plan: ImportPlan, records: Records, folder: Path) -> None:
    """The source's files."""
    folder.mkdir()
    for number, lines in enumerate(records.files):
        data = "".join(f"{line}\n" for line in lines).encode()
        if plan.layout == "gzip":
            (folder / f"{number}.json.gz").write_bytes(gzip.compress(data))
        else:
            (folder / f"{number}.json").write_bytes(data)


def check_state(state: Path, records: Records) -> None:
    """The manifest, the rejects each once, and nothing else. Raises ChaosError."""
    files = {str(path.relative_to(state)): path for path in state.rglob("*") if path.is_file()}
    if MANIFEST not in files:
        raise ChaosError(f"there is no manifest among {sorted(files)}")
    totals = json.loads(files.pop(MANIFEST).read_bytes())["totals"]
    rejects = [path for name, path in files.items() if name.startswith("rejects-")]
    if len(rejects) != len(files):
        raise ChaosError(f"there is too much in the state folder: {sorted(files)}")
    found = Counter(json.loads(line)["raw"] for path in rejects for line in path.read_bytes().splitlines())
    if told := difference(Counter(records.bad), found):
        raise ChaosError(f"the rejects are wrong: {told}")
    lines = sum(map(len, records.files))
    if (totals["items"], totals["rejected"]) != (lines - len(records.bad), len(records.bad)):
        raise ChaosError(
            f"the manifest tells {totals['items']} items and {totals['rejected']} rejects of {lines} lines"
        )


def _told(plan: ImportPlan, attempts: Attempts, account: FaultAccount) -> dict[str, Any]:
    return {
        "seed": plan.seed,
        "where": f"{plan.layout} to {plan.tables}",
        "items": plan.records,
        "attempts": len(attempts.ended),
        "blows": Counter(victim for ended in attempts.ended for victim in ended.landed),
        "stops": sum(ended.code == 1 for ended in attempts.ended),
        "faults": account.faults.total(),
        "puts": plan.records + plan.repeated,
        "served": account.served.puts,
    }
