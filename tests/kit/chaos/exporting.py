"""One chaotic export: its plan, its run, and what must be there afterwards."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from random import Random
from typing import Any

from tests.kit.chaos.plans import draw_blows, draw_rates, judge, pause, until_done
from tests.kit.chaos.processes import Attempts, Blow, ChaosError
from tests.kit.chaos.relay import Pace
from tests.kit.chaos.values import decompressed, difference, in_form, read_lines
from tests.kit.chaos.world import Place, Stage, Tables, World, staged
from tests.kit.faults.account import FaultAccount, Served
from tests.kit.faults.schedule import Schedule
from tests.kit.servers.aws import Server
from tests.kit.servers.items import Shape, make_item
from tests.kit.servers.tables import Mode, Table

MANIFEST = "_ddbio/manifest.json"
PREFIX = "backup/"
PROCESSES = 2


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """Everything that a seed settles of an export."""

    seed: int
    tables: Tables
    mode: Mode
    shape: Shape
    items: int
    page_items: int
    place: Place
    segments: int
    concurrency: int
    capacity: int
    size: int
    form: str
    compress: str
    pause: float
    rates: Mapping[str, float]
    s3_rates: Mapping[str, float]
    attempts: tuple[tuple[Blow, ...], ...]

    @property
    def table(self) -> str:
        return f"T{self.seed}"

    def command(self, destination: str) -> list[str]:
        """The arguments of the command line, the same for each attempt."""
        return [
            *("export", "-t", self.table, "-d", destination, "-p", str(PROCESSES), "--resume", "--quiet"),
            *("-c", str(self.capacity), "-s", str(self.size), "--concurrency", str(self.concurrency)),
            *("--segments", str(self.segments), "--format", self.form, "--compress", self.compress),
        ]


def plan_export(seed: int) -> ExportPlan:
    """The export that this seed stands for."""
    rng = Random(f"export {seed}")
    tables: Tables = rng.choices(("counting", "dynalite", "moto"), (84, 8, 8))[0]
    place: Place = rng.choices(("folder", "moto", "seaweed"), (70, 20, 10))[0]
    shape: Shape = _shape(rng, tables, place)
    low, high = {"small": (4_000, 12_000), "nested": (2_000, 5_000), "large": (120, 240)}[shape]
    items = rng.randint(low, high) if tables == "counting" else rng.randint(800, 1_500)
    pages = rng.randint(50, 150)
    segments = rng.choice((2, 3, 6)) if shape == "large" else rng.choice((3, 5, 12, 24))
    concurrency = rng.choice((1, 2, 4, 8))
    requests = pages + segments
    return ExportPlan(
        seed=seed,
        tables=tables,
        mode=rng.choices(("generated", "stored"), (70, 30))[0],
        shape=shape,
        items=items,
        page_items=ceil(items / pages),
        place=place,
        segments=segments,
        concurrency=concurrency,
        capacity=rng.choice((1_000, 5_000, 50_000)),
        size=rng.choice((1, 2, 1_024)),
        form=rng.choice(("jsonl", "dynamodb-json")),
        compress=rng.choice(("none", "gzip", "zstd")),
        pause=pause(requests, min(segments, PROCESSES * concurrency)),
        rates=draw_rates(rng, 0.04),
        s3_rates=draw_rates(rng, 0.06),
        attempts=draw_blows(rng, requests),
    )


def _shape(rng: Random, tables: Tables, place: Place) -> Shape:
    if tables != "counting":
        return "small"
    # Only what is large makes an upload of several parts.
    return rng.choices(("small", "nested", "large"), (50, 30, 20) if place == "folder" else (30, 20, 50))[0]


async def run_export(plan: ExportPlan, world: World, folder: Path) -> dict[str, Any]:
    """Run it to its end and check everything; return what is worth a line. Raises ChaosError."""
    tables = await world.server(plan.tables)
    s3 = None if plan.place == "folder" else await world.server(plan.place)
    await _fill(plan, tables, world)
    bucket = "" if s3 is None else await asyncio.to_thread(s3.create_bucket)
    destination = str(folder / "out") if s3 is None else f"s3://{bucket}/{PREFIX}"
    schedules = (Schedule(plan.seed, rates) for rates in (plan.rates, plan.s3_rates))
    schedule, s3_schedule = schedules
    async with staged(tables, Pace(plan.page_items, plan.pause), schedule, s3, s3_schedule) as stage:
        attempts = Attempts(plan.command(destination), stage.environment, folder, stage.pace)
        await until_done(attempts, plan.attempts, 0, may_stop=s3 is not None)
        expected = in_form(await asyncio.to_thread(tables.items, plan.table), plan.form)
        files = await asyncio.to_thread(_files, folder / "out", s3, bucket)
        check_files(plan, files, expected)
        _judge(plan, stage, attempts)
    if s3 is not None and (left := await asyncio.to_thread(s3.uploads, bucket)):
        raise ChaosError(f"uploads are left open: {left}")
    await asyncio.to_thread(_clear, plan, world, tables, s3, bucket)
    return _told(plan, attempts, stage.proxy.account)


async def _fill(plan: ExportPlan, tables: Server, world: World) -> None:
    if plan.tables == "counting":
        table = Table(name=plan.table, mode=plan.mode, items=plan.items, shape=plan.shape, seed=plan.seed)
        world.counting.tables[plan.table] = table
        return
    await asyncio.to_thread(tables.create_table, plan.table)
    items = [make_item(plan.shape, plan.seed, index) for index in range(plan.items)]
    await asyncio.to_thread(tables.put_items, plan.table, items)


def _files(out: Path, s3: Server | None, bucket: str) -> dict[str, bytes]:
    if s3 is not None:
        return {name.removeprefix(PREFIX): data for name, data in s3.objects(bucket).items()}
    return local_files(out)


def local_files(out: Path) -> dict[str, bytes]:
    """All files below a folder, by their names relative to it."""
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def check_files(plan: ExportPlan, files: dict[str, bytes], expected: Counter[str]) -> None:
    """Each item once, each file in the manifest as it says, and nothing else. Raises ChaosError."""
    if MANIFEST not in files:
        raise ChaosError(f"there is no manifest among {sorted(files)}")
    manifest = json.loads(files.pop(MANIFEST))
    listed = {file["name"]: file for file in manifest["files"]}
    if listed.keys() != files.keys():
        raise ChaosError(f"files and manifest differ by {sorted(listed.keys() ^ files.keys())}")
    found: Counter[str] = Counter()
    for name, data in files.items():
        lines = decompressed(name, data).splitlines()
        facts = {"items": len(lines), "read": len(lines), "bytes": len(data), "crc32": zlib.crc32(data), "sealed": True}
        if wrong := {fact: (listed[name][fact], true) for fact, true in facts.items() if listed[name][fact] != true}:
            raise ChaosError(f"the manifest is wrong about {name}: {wrong}")
        found += read_lines(lines, plan.form)
    if told := difference(expected, found):
        raise ChaosError(f"the table and the files differ: {told}")
    if manifest["totals"]["items"] != expected.total():
        raise ChaosError(f"the manifest tells {manifest['totals']['items']} items of {expected.total()}")


def _judge(plan: ExportPlan, stage: Stage, attempts: Attempts) -> None:
    account = stage.proxy.account
    pages_of = Counter(page.segment for page in account.pages)
    # Pages end where they end: each was served at least once, and an undisturbed run would have had each once.
    undisturbed = Served(len(account.pages), 0)
    per_commit = None
    if plan.place != "folder":
        # Nothing of a file is durable in S3 before its first 8 MiB are full, or its end.
        per_commit = Served(min(plan.segments, PROCESSES * plan.concurrency) * max(pages_of.values()), 0)
    judge(account, undisturbed, attempts.disturbances, per_commit)


def _clear(plan: ExportPlan, world: World, tables: Server, s3: Server | None, bucket: str) -> None:
    if plan.tables == "counting":
        del world.counting.tables[plan.table]
    else:
        tables.client("dynamodb").delete_table(TableName=plan.table)
    if s3 is not None:
        client = s3.client("s3")
        for key in s3.objects(bucket):
            client.delete_object(Bucket=bucket, Key=key)
        client.delete_bucket(Bucket=bucket)


def _told(plan: ExportPlan, attempts: Attempts, account: FaultAccount) -> dict[str, Any]:
    return {
        "seed": plan.seed,
        "where": f"{plan.tables} to {plan.place}",
        "items": plan.items,
        "attempts": len(attempts.ended),
        "blows": Counter(victim for ended in attempts.ended for victim in ended.landed),
        "stops": sum(ended.code == 1 for ended in attempts.ended),
        "faults": account.faults.total(),
        "pages": len(account.pages),
        "served": account.served.pages,
    }
