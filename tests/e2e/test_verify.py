"""`ddbio verify`: files against their manifest, files against a table, and what a repair mends."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from ddbio import (
    Capacity,
    CheckPlanned,
    Connection,
    Difference,
    Event,
    ExportOptions,
    JobPlanned,
    ProblemFound,
    ScanFilter,
    Spending,
    VerifyOptions,
    VerifyReport,
    Warned,
    export_table,
    verify_export,
)
from ddbio.errors import PreflightError, UsageError
from ddbio.generate import blocks
from ddbio.model import Compression, OutputFormat
from tests.conftest import StartCounting
from tests.kit.command import ddbio
from tests.kit.marks import few
from tests.kit.servers.aws import REGION, Key, Server
from tests.kit.servers.http import Handler, Reply, Request
from tests.kit.servers.tables import Table

KEY: Key = (("hash", "S"), ("range", "S"))
ITEMS = 200
PLENTY = Capacity(units=10_000)
Item = dict[str, dict[str, Any]]


def every_type(count: int) -> list[Item]:
    """Items that hold every type, as boto3's low-level client takes them."""
    lines = b"".join(blocks(count, seed=1)).splitlines()
    more: Item = {
        "n": {"N": "1.50"},
        "b": {"B": b"\x00\xff"},
        "ss": {"SS": ["ä", "b"]},
        "ns": {"NS": ["1", "-2.5e10"]},
        "bs": {"BS": [b"a", b"b"]},
        "l": {"L": [{"S": "x"}, {"M": {"deep": {"SS": ["y"]}}}, {"NULL": True}]},
        "t": {"BOOL": True},
    }
    return [{name: {"S": text} for name, text in json.loads(line).items()} | more for line in lines]


class Case:
    """A table with items in it, and an export of it."""

    def __init__(self, dynamodb: Server, s3: Server, folder: Path) -> None:
        self.server = dynamodb
        self.connection = Connection(region=REGION, dynamodb_endpoint_url=dynamodb.url, s3_endpoint_url=s3.url)
        self.source = str(folder / "out")
        self.folder = folder / "out"
        self.items = every_type(ITEMS)
        self.table = dynamodb.create_table(key=KEY)
        dynamodb.put_items(self.table, self.items)
        self.events: list[Event] = []
        self.differences: list[Difference] = []

    async def export(self, **options: Any) -> None:
        given = {
            "destination": self.source,
            "segments": 5,
            "connection": self.connection,
            "capacity": PLENTY,
            **options,
        }
        await export_table(ExportOptions(table=self.table, **given))

    async def verify(self, **options: Any) -> VerifyReport:
        self.events.clear()
        self.differences.clear()
        given = {"source": self.source, "connection": self.connection, "capacity": PLENTY, **options}
        return await verify_export(
            VerifyOptions(**given), observer=self.events.append, on_difference=self.differences.append
        )

    def told(self, kind: type[Event]) -> list[str]:
        return [event.message for event in self.events if isinstance(event, kind) and hasattr(event, "message")]

    def key(self, number: int) -> Item:
        return {name: self.items[number][name] for name in ("hash", "range")}

    def delete(self, number: int) -> None:
        self.server.client("dynamodb").delete_item(TableName=self.table, Key=self.key(number))

    def put(self, item: Item) -> None:
        self.server.put_items(self.table, [item])

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*.json*"))


@pytest.fixture
def case(moto: Server, tmp_path: Path) -> Case:
    return Case(moto, moto, tmp_path)


def seen(differences: list[Difference]) -> set[tuple[str, str]]:
    return {(difference.kind, json.dumps(difference.key, sort_keys=True)) for difference in differences}


def named(kind: str, key: Item) -> tuple[str, str]:
    return kind, json.dumps(key, sort_keys=True)


@pytest.mark.parametrize(("form", "compress"), few(product(["jsonl", "dynamodb-json"], ["none", "gzip", "zstd"]), 0, 5))
async def test_what_is_changed_in_the_table_is_found_and_mended(
    dynalite: Server, moto: Server, tmp_path: Path, form: OutputFormat, compress: Compression
) -> None:
    case = Case(dynalite, moto, tmp_path)
    await case.export(format=form, compress=compress)
    report = await case.verify(table=case.table)
    assert report.clean
    assert (report.items, report.scanned, report.missing, report.different, report.problems) == (ITEMS, ITEMS, 0, 0, ())
    assert report.bytes == sum(file.stat().st_size for file in case.files())

    case.delete(3)
    case.put(case.items[10] | {"ns": {"NS": ["1"]}})
    case.put(case.items[11] | {"n": {"S": "1.5"}})
    case.put(case.items[12] | {"n": {"N": "15e-1"}, "ss": {"SS": ["b", "ä"]}})  # the same, otherwise spelled
    stranger: Item = {"hash": {"S": "x"}, "range": {"S": "y"}}
    case.put(stranger)
    expected = {
        named("missing", case.key(3)),
        named("different", case.key(10)),
        named("different", case.key(11)),
        named("extra", stranger),
    }
    report = await case.verify(table=case.table)
    assert not report.clean
    assert seen(case.differences) == expected
    assert (report.missing, report.different, report.extra, report.repaired) == (1, 2, 1, 0)

    report = await case.verify(table=case.table, repair=True, write_capacity=PLENTY)
    assert seen(case.differences) == expected
    assert (report.repaired, report.write_units, report.clean) == (3, 3, False)
    case.server.client("dynamodb").delete_item(TableName=case.table, Key=stranger)
    report = await case.verify(table=case.table, repair=True)
    assert (report.clean, report.repaired, case.differences) == (True, 0, [])
    stored = {item["range"]["S"]: item for item in case.server.items(case.table)}
    for number in (3, 10, 11):
        mended, given = stored[case.items[number]["range"]["S"]], case.items[number]
        assert {kind for value in mended.values() for kind in value} >= {"S", "N", "B", "SS", "NS", "BS", "L", "BOOL"}
        assert {name: mended[name] for name in ("val_1", "b", "l", "t")} == {
            name: given[name] for name in ("val_1", "b", "l", "t")
        }
        assert {name: set(mended[name][kind]) for name, kind in (("ss", "SS"), ("bs", "BS"))} == {
            name: set(given[name][kind]) for name, kind in (("ss", "SS"), ("bs", "BS"))
        }


async def test_one_attribute_of_one_item_among_thousands(dynalite: Server, moto: Server, tmp_path: Path) -> None:
    case = Case(dynalite, moto, tmp_path)
    lines = b"".join(blocks(5_000, seed=2)).splitlines()
    items = [{name: {"S": text} for name, text in json.loads(line).items()} for line in lines]
    dynalite.put_items(case.table, items)
    await case.export(segments=16, compress="gzip")
    case.put(items[4_321] | {"val_1": {"S": items[4_321]["val_1"]["S"][:-1] + "!"}})
    report = await case.verify(table=case.table, repair=True, write_capacity=PLENTY)
    assert seen(case.differences) == {named("different", {name: items[4_321][name] for name in ("hash", "range")})}
    assert (report.items, report.different, report.repaired, report.clean) == (5_000 + ITEMS, 1, 1, True)
    report = await case.verify(table=case.table)
    assert (report.different, case.differences, report.clean) == (0, [], True)


async def test_files_alone_need_no_aws(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    await case.export(compress="zstd")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    report = await verify_export(VerifyOptions(source=f"{case.source}/"), observer=case.events.append)
    assert report.clean
    assert (report.items, report.files, report.used.requests) == (ITEMS, len(case.files()), 0)
    (plan,) = [event for event in case.events if isinstance(event, CheckPlanned)]
    assert (plan.files, plan.bytes, plan.table) == (report.files, report.bytes, case.table)


async def test_an_export_in_s3(case: Case, moto: Server) -> None:
    bucket = moto.create_bucket()
    case.source = f"s3://{bucket}/deep/backup"
    await case.export(compress="gzip", format="dynamodb-json")
    report = await case.verify(table=case.table)
    assert (report.clean, report.items, report.scanned) == (True, ITEMS, ITEMS)
    first, second, *_ = sorted(name for name in moto.objects(bucket, "deep/backup/") if name.endswith(".gz"))
    moto.client("s3").delete_object(Bucket=bucket, Key=first)
    moto.client("s3").put_object(Bucket=bucket, Key=second, Body=gzip.compress(b""))
    report = await case.verify()
    assert report.problems[0] == f"{first.rpartition('/')[2]}: it is missing."
    assert {problem.partition(":")[0] for problem in report.problems[1:]} == {second.rpartition("/")[2]}
    assert not report.clean


def damage(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def apply(file: Path) -> None:
        file.write_bytes(change(file.read_bytes()))

    return apply


@pytest.mark.parametrize(
    ("harm", "told"),
    few(
        [
            (damage(lambda data: data[:-10]), ["bytes", "checksum", "ends in the middle", "records", "fingerprint"]),
            (damage(lambda data: data[:30] + b"\0\0\0\0" + data[34:]), ["checksum", "corrupt"]),
            (damage(lambda data: data + gzip.compress(b"{}\n")), ["bytes", "checksum", "can't be read", "records"]),
            (Path.unlink, ["it is missing."]),
            (lambda file: file.rename(file.with_name("other.json.gz")), ["it is missing.", "does not list it"]),
            (
                lambda file: (file.parent / file.name.replace("-0000", "-9999", 1)).write_bytes(b""),
                ["does not list it"],
            ),
        ],
        0,
        3,
        5,
    ),
)
async def test_a_damaged_export(case: Case, harm: Callable[[Path], Any], told: list[str]) -> None:
    await case.export(compress="gzip", segments=1)
    harm(case.files()[0])
    report = await case.verify()
    assert not report.clean
    assert list(report.problems) == case.told(ProblemFound)
    for part in told:
        assert any(part in problem for problem in report.problems), report.problems
    assert all(
        "\n" not in problem and problem.startswith((case.table, "other.json.gz: ")) for problem in report.problems
    )


async def test_nothing_is_repaired_from_damaged_files(case: Case) -> None:
    await case.export(segments=1)
    case.delete(0)
    case.files()[0].write_bytes(case.files()[0].read_bytes().replace(b"1.50", b"1.75", 1))
    report = await case.verify(table=case.table, repair=True)
    assert (report.missing, report.different, report.repaired, report.write_units) == (1, 1, 0, 0)
    (told,) = [message for message in case.told(Warned) if "Nothing is repaired" in message]
    assert report.problems[0] in told
    assert not report.clean


async def test_types_that_plain_json_has_lost_are_no_differences(case: Case) -> None:
    case.put(case.items[0] | {"ss": {"L": [{"S": "x"}]}})
    await case.export()
    report = await case.verify(table=case.table)
    assert report.clean
    assert any("does not preserve the types of ss" in message for message in case.told(Warned))
    case.put(case.items[1] | {"ss": {"SS": ["other"]}})
    assert (await case.verify(table=case.table)).different == 1
    with pytest.raises(UsageError, match="dynamodb-json"):
        await case.verify(table=case.table, repair=True)


async def test_types_of_paths_beyond_the_limit_are_no_differences(case: Case) -> None:
    """Sets whose paths found no room among the type hints come back as lists, and that is no damage."""
    for number, item in enumerate(case.items[:4]):
        names = (f"s{name:04}" for name in range(number * 300, (number + 1) * 300))
        case.put(item | {"map": {"M": {name: {"SS": ["a"]} for name in names}}})
    await case.export()
    manifest = json.loads((case.folder / "_ddbio/manifest.json").read_text())
    assert manifest["types_cut_off"]
    assert manifest["mixed"] == []
    for report in (await case.verify(), await case.verify(table=case.table)):
        assert report.clean
        assert any("beyond the first 1,000 paths" in message for message in case.told(Warned))


async def test_a_table_can_be_read_consistently(case: Case, counting: StartCounting) -> None:
    asked: list[bool] = []

    async def on_request(request: Request, serve: Handler) -> Reply:
        if request.operation == "Scan":
            asked.append(request.payload.get("ConsistentRead", False))
        return await serve(request)

    server = await counting(Table(items=50), on_request=on_request)
    case.connection = Connection(region=REGION, dynamodb_endpoint_url=server.url)
    case.table = "T"
    await case.export(segments=1)
    assert asked == [False]
    for consistent in (False, True):
        report = await case.verify(table="T", consistent=consistent)
        assert report.clean
        assert asked[-1] is consistent


async def test_an_export_without_fingerprints(case: Case) -> None:
    await case.export(fingerprint=False)
    assert (await case.verify(table=case.table)).clean
    assert any("no fingerprints" in message for message in case.told(Warned))
    manifest = json.loads((case.folder / "_ddbio/manifest.json").read_text())
    assert {file["fingerprint"] for file in manifest["files"]} == {None}


async def test_an_empty_export(case: Case) -> None:
    empty = case.server.create_table(key=KEY)
    options = ExportOptions(table=empty, destination=case.source, connection=case.connection)
    await export_table(options)
    report = await case.verify(table=empty)
    assert (report.clean, report.files, report.scanned) == (True, 0, 0)
    report = await case.verify(table=case.table)
    assert (report.extra, len(case.differences)) == (ITEMS, ITEMS)


async def test_a_copy_is_compared_like_the_table_itself(case: Case) -> None:
    await case.export()
    copy = case.server.create_table(key=KEY)
    report = await case.verify(table=copy, repair=True, write_capacity=PLENTY)
    assert (report.missing, report.repaired, report.clean) == (ITEMS, ITEMS, True)
    assert (await case.verify(table=copy)).clean


async def test_a_comparison_tells_what_it_will_take(case: Case) -> None:
    await case.export()
    await case.verify(table=case.table)
    (plan,) = [event for event in case.events if isinstance(event, JobPlanned)]
    assert (plan.command, plan.table, plan.splits, plan.budget) == ("verify", case.table, 5, 10_000)


@pytest.mark.parametrize(
    ("scan", "part"),
    [
        (ScanFilter(projection_expression="n"), "projection expression"),
        (ScanFilter(filter_expression="attribute_exists(n)"), "filter expression"),
    ],
)
async def test_part_of_a_table_is_verified_but_not_compared(case: Case, scan: ScanFilter, part: str) -> None:
    await case.export(scan=scan)
    assert (await case.verify()).items == ITEMS
    with pytest.raises(UsageError, match=part):
        await case.verify(table=case.table)


async def test_an_index_is_verified_but_not_compared(case: Case) -> None:
    index = {
        "IndexName": "by-n",
        "KeySchema": [{"AttributeName": "n", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    attributes = [{"AttributeName": "n", "AttributeType": "N"}]
    table = case.server.create_table(key=KEY, GlobalSecondaryIndexes=[index], AttributeDefinitions=attributes)
    case.server.put_items(table, case.items[:20])
    scan = ScanFilter(index="by-n")
    await export_table(ExportOptions(table=table, destination=case.source, connection=case.connection, scan=scan))
    assert ((await case.verify()).items, (await case.verify()).clean) == (20, True)
    with pytest.raises(UsageError, match="its index"):
        await case.verify(table=table)


async def test_what_can_not_be_verified(case: Case, tmp_path: Path) -> None:
    await case.export()
    other = case.server.create_table(key=(("id", "N"),))
    with pytest.raises(UsageError, match=r"hash \(S\) and range \(S\), that of table .* is id \(N\)"):
        await case.verify(table=other)
    with pytest.raises(PreflightError, match="no table"):
        await case.verify(table="Missing")
    with pytest.raises(UsageError, match="not the folder"):
        await case.verify(source=str(case.files()[0]))
    with pytest.raises(PreflightError, match=r"holds no _ddbio/manifest\.json"):
        await case.verify(source=str(tmp_path))
    for wrong in ({"source": "-"}, {"repair": True}, {"concurrency": 0}):
        with pytest.raises(UsageError):
            VerifyOptions(**{"source": "x", **wrong})  # type: ignore[arg-type]
    assert not [event for event in case.events if isinstance(event, JobPlanned)]


async def test_cancelling_leaves_nothing_behind(case: Case) -> None:
    await case.export()
    before = asyncio.all_tasks()
    for turns in (1, 20, 50, 100, 200):
        task = asyncio.create_task(case.verify(table=case.table))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert asyncio.all_tasks() == before


async def test_the_command(case: Case) -> None:
    await case.export()
    environment = case.server.environment()
    files = ("verify", "-s", case.source)
    done = await asyncio.to_thread(ddbio, *files, environment={**environment, "AWS_REGION": ""})
    assert (done.code, done.out) == (0, b""), done.err
    assert f"Checked {ITEMS} items" in done.err

    case.put(case.items[7] | {"n": {"N": "2"}})
    table = (*files, "-t", case.table, "-c", "10000")
    done = await asyncio.to_thread(ddbio, *table, "--quiet", environment=environment)
    assert (done.code, done.err) == (1, "")
    (line,) = map(json.loads, done.out.splitlines())
    assert line == {"ddbio_difference": 1, "kind": "different", "segment": line["segment"], "key": case.key(7)}

    repair = (*table, "--repair", "--write-capacity", "10000", "--json")
    done = await asyncio.to_thread(ddbio, *repair, environment=environment)
    *lines, report = map(json.loads, done.out.splitlines())
    assert (done.code, len(lines)) == (0, 1), done.err
    assert report.keys() == {*VerifyReport.__dataclass_fields__, *Spending.__dataclass_fields__} - {"used"}
    assert (report["command"], report["different"], report["repaired"], report["problems"]) == ("verify", 1, 1, [])
    assert "1 different; 1 repaired" in done.err

    case.files()[0].unlink()
    done = await asyncio.to_thread(ddbio, *files, environment=environment)
    assert (done.code, done.out) == (1, b"")
    assert "problem: " in done.err
    done = await asyncio.to_thread(ddbio, *files, "--repair", environment=environment)
    assert (done.code, len(done.errors)) == (2, 1)
