"""Bad and odd inputs: each ends as its row says, and nothing is lost.

What a table holds is read with boto3, and a rejects file as JSON lines: nothing of ddbio judges what ddbio did.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
import json
import os
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import botocore
import pytest

from ddbio import Capacity, Connection, Event, ImportOptions, JobPlanned, JobReport, import_table
from ddbio.errors import PreflightError, SourceError, TooManyRejectsError
from tests.conftest import StartCounting
from tests.kit.bad_inputs import BROKEN, FILES, PK, Item, Row, bad, one
from tests.kit.bad_places import PLACES, Place
from tests.kit.bad_records import RECORDS
from tests.kit.servers.aws import REGION, Key, Server
from tests.kit.servers.counting import CountingServer
from tests.kit.servers.http import Handler, Reply, Request
from tests.kit.servers.tables import Table

FAST = Capacity(units=1_000_000)
Group = tuple[Key, Key, str]
WHOLE = [row.tagged(f"row{number:03}") for number, row in enumerate((*FILES, *RECORDS))]
"""Files that are read to their end."""


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where all servers stand; and one certificate, because to load all of them takes longer than most imports here."""
    bundle = tmp_path_factory.getbasetemp() / "one-certificate.pem"
    if not bundle.exists():
        end = "-----END CERTIFICATE-----\n"
        bundle.write_text(Path(botocore.__file__).with_name("cacert.pem").read_text().partition(end)[0] + end)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    monkeypatch.setenv("AWS_REGION", REGION)


def make_table(server: Server, row: Row) -> str:
    """A table with the keys of a row."""
    if not row.index:
        return server.create_table(key=row.key)
    [(name, kind)] = row.index
    index = {
        "IndexName": "other",
        "KeySchema": [{"AttributeName": name, "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    attribute = {"AttributeName": name, "AttributeType": kind}
    return server.create_table(key=row.key, AttributeDefinitions=[attribute], GlobalSecondaryIndexes=[index])


def options(server: Server | CountingServer, table: str, source: str | Path, state: Path, **more: Any) -> ImportOptions:
    more.setdefault("connection", Connection(endpoint_url=server.url))
    return ImportOptions(table=table, source=str(source), capacity=FAST, state=str(state), **more)


def read_rejects(state: Path) -> list[dict[str, Any]]:
    """Every line of the rejects file in a state folder, `raw` as bytes again."""
    found = [json.loads(line) for file in state.glob("*.jsonl") for line in file.read_bytes().splitlines()]
    for reject in found:
        text = reject.pop("raw", None)
        binary = reject.pop("raw_base64", None)
        reject["raw"] = base64.b64decode(binary) if binary is not None else text.encode() if text is not None else None
    return found


def about(rejects: Iterable[Mapping[str, Any]], file: Path) -> list[dict[str, Any]]:
    """What a rejects file tells of one source file, in its order."""
    members = ("offset", "length", "line", "reason", "raw")
    return [{name: reject[name] for name in members} for reject in rejects if reject["source"] == str(file)]


def in_order(items: Iterable[Item]) -> list[str]:
    """Items by value: sets, which the service gives back in any order, sorted."""
    return sorted(json.dumps(_sets_sorted(item), sort_keys=True, default=repr) for item in items)


def _sets_sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: sorted(inner) if name in ("SS", "NS", "BS") else _sets_sorted(inner) for name, inner in value.items()
        }
    return [_sets_sorted(inner) for inner in value] if isinstance(value, list) else value


# --- files that are read to their end: many in one import


class Imported(NamedTuple):
    """What came of a folder of files."""

    rows: list[Row]
    files: dict[str, Path]
    report: JobReport
    rejects: list[dict[str, Any]]
    items: list[str]


ImportGroup = Callable[[Group], Awaitable[Imported]]


def group_of(row: Row) -> Group:
    """Rows of one group can go into one table in one import."""
    return row.key, row.index, row.form


GROUPS = sorted(set(map(group_of, WHOLE)))


@pytest.fixture(scope="module")
def done() -> dict[Group, Imported]:
    """The groups that have been imported."""
    return {}


@pytest.fixture
def group(done: dict[Group, Imported], dynalite_process: Server, tmp_path: Path) -> ImportGroup:
    """Import the files of a group, once for all tests."""

    async def import_group(wanted: Group) -> Imported:
        if wanted not in done:
            done[wanted] = await import_rows(
                dynalite_process, tmp_path, [row for row in WHOLE if group_of(row) == wanted]
            )
        return done[wanted]

    return import_group


async def import_rows(server: Server, folder: Path, rows: list[Row]) -> Imported:
    files = {row.name: folder / f"{number:03}{row.suffix}" for number, row in enumerate(rows)}
    for row in rows:
        files[row.name].write_bytes(row.pack(row.content()))
    table = make_table(server, rows[0])
    state = folder / ".state"
    report = await import_table(options(server, table, folder, state, format=rows[0].form))
    return Imported(rows, files, report, read_rejects(state), in_order(server.items(table)))


@pytest.mark.parametrize("row", WHOLE, ids=lambda row: row.name)
async def test_file_that_is_read_to_its_end(row: Row, group: ImportGroup) -> None:
    found = await group(group_of(row))
    assert about(found.rejects, found.files[row.name]) == row.rejects()
    assert [item for item in in_order(row.stored()) if item not in found.items] == []


@pytest.mark.parametrize("kind", GROUPS, ids=lambda kind: "-".join((*(name for name, _ in kind[0] + kind[1]), kind[2])))
async def test_nothing_is_lost_and_nothing_made_up(kind: Group, group: ImportGroup) -> None:
    """Every line is written or rejected, once, and the table holds what the rows say, no more."""
    rows, _, report, rejects, items = await group(kind)
    assert report.items == sum(len(row.written()) for row in rows)
    assert report.rejected == len(rejects) == sum(len(row.rejects()) for row in rows)
    assert report.files == len(rows)
    assert items == in_order(item for row in rows for item in row.stored())


# --- files that can't be read to their end


@pytest.mark.parametrize("row", BROKEN, ids=lambda row: row.name)
async def test_file_that_is_broken(row: Row, dynalite_process: Server, tmp_path: Path) -> None:
    """The job fails, and says where; every record before the fault is settled."""
    row = row.tagged("row")
    file = tmp_path / f"in{row.suffix}"
    file.write_bytes(row.pack(row.content()))
    table = make_table(dynalite_process, row)
    assert row.error is not None
    with pytest.raises(row.error, match=row.told) as caught:
        await import_table(options(dynalite_process, table, file, tmp_path / "state"))
    assert str(file) in str(caught.value)
    assert in_order(dynalite_process.items(table)) == in_order(row.stored())
    assert about(read_rejects(tmp_path / "state"), file) == row.rejects()


# --- places


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
async def test_place(place: Place, dynalite_process: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found in a place, or that it is refused before anything is written."""
    root = tmp_path / "root"
    root.mkdir()
    monkeypatch.chdir(root)
    place.make(root)
    table = dynalite_process.create_table(key=PK)
    job = import_table(options(dynalite_process, table, root / place.source, tmp_path / "state"))
    if place.error is None:
        report = await job
        assert (report.items, report.rejected, report.files) == (len(place.found), 0, len(place.found))
    else:
        with pytest.raises(place.error, match=place.told):
            await job
    assert sorted(item["pk"]["S"] for item in dynalite_process.items(table)) == sorted(place.found)
    assert read_rejects(tmp_path / "state") == []


# --- files that change while they are read

LINES = [b'{"pk":"%03d","v":"%s"}\n' % (number, b"x" * 100) for number in range(100)]
"""Four batches: when the first one is in, the file has not been read to its end."""
LARGE = [b'{"pk":"%04d","v":"%s"}\n' % (number, b"y" * 1000) for number in range(2500)]
"""Three spans, each with a request of its own."""


def replaced(file: Path) -> None:
    other = file.with_suffix(".new")
    other.write_bytes(file.read_bytes())
    os.utime(other, ns=(0, 0))
    other.rename(file)


def folder_instead(file: Path) -> None:
    file.unlink()
    file.mkdir()


CHANGES: dict[str, Callable[[Path], object]] = {
    "grows": lambda file: file.write_bytes(file.read_bytes() + LINES[0]),
    "shrinks": lambda file: os.truncate(file, 1000),
    "is emptied": lambda file: os.truncate(file, 0),
    "is written over": lambda file: file.write_bytes(file.read_bytes()[::-1]),
    "is replaced": replaced,
    "is removed": lambda file: file.unlink(),
    "becomes a folder": folder_instead,
}


@pytest.mark.parametrize(("change", "pack"), [*product(CHANGES, [bytes]), ("grows", gzip.compress)])
async def test_file_that_changes_while_it_is_read(
    change: str, pack: Callable[[bytes], bytes], counting: StartCounting, tmp_path: Path
) -> None:
    """The job fails; what was read before is written, as it stood in the file that was found."""
    file = tmp_path / ("in.json" if pack is bytes else "in.json.gz")
    file.write_bytes(pack(b"".join(LINES)))

    async def on_request(request: Request, serve: Handler) -> Reply:
        if request.operation == "BatchWriteItem" and server.account.operations["BatchWriteItem"] == 1:
            CHANGES[change](file)
        return await serve(request)

    server = await counting(Table(mode="stored", key=PK), on_request=on_request)
    with pytest.raises(SourceError, match=re.escape(str(file))):
        await import_table(options(server, "T", file, tmp_path / "state", concurrency=1))
    assert sorted(item["pk"]["S"] for item in server.stored().items) == [f"{number:03}" for number in range(100)]


async def test_file_that_was_empty_when_it_was_found(counting: StartCounting, tmp_path: Path) -> None:
    """There is nothing to read of it, and still its growth is noticed."""
    file = tmp_path / "in.json"
    file.touch()

    def fill(event: Event) -> None:
        if isinstance(event, JobPlanned):
            asyncio.get_running_loop().call_soon(file.write_bytes, LINES[0])

    server = await counting(Table(mode="stored", key=PK))
    with pytest.raises(SourceError, match=r"in\.json was changed while it was read"):
        await import_table(options(server, "T", file, tmp_path / "state"), observer=fill)
    assert server.stored().items == []


@pytest.mark.parametrize("body", [b"", LINES[0], b"".join(LINES) * 100], ids=["emptied", "one line", "other lines"])
async def test_object_that_changes_while_it_is_read(
    body: bytes, counting: StartCounting, seaweed: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object is replaced when the first batch is in: no line of the new one is taken for one of the old one."""
    s3 = seaweed.client("s3")
    bucket = seaweed.create_bucket()
    lines = b"".join(LARGE)
    s3.put_object(Bucket=bucket, Key="in.json", Body=lines)

    async def on_request(request: Request, serve: Handler) -> Reply:
        if request.operation == "BatchWriteItem" and server.account.operations["BatchWriteItem"] == 1:
            await asyncio.to_thread(s3.put_object, Bucket=bucket, Key="in.json", Body=body)
        return await serve(request)

    server = await counting(Table(mode="stored", key=PK), on_request=on_request)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweed.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweed.secret_key)
    connection = Connection(dynamodb_endpoint_url=server.url, s3_endpoint_url=seaweed.url)
    job = options(server, "T", f"s3://{bucket}/in.json", tmp_path / "state", connection=connection, concurrency=1)
    with pytest.raises(SourceError, match=rf"s3://{bucket}/in.json was changed while it was read"):
        await import_table(job)
    items = server.stored().items
    assert 0 < len(items) < len(LARGE)
    assert {item["v"]["S"][0] for item in items} == {"y"}


# --- streams


async def test_named_pipe(dynalite_process: Server, tmp_path: Path) -> None:
    """It is read once, to its end, and a bad line in it is told by its place."""
    file = tmp_path / "in.json.gz"
    os.mkfifo(file)
    row = Row(name="", lines=(one(1), bad(b"bad", "not_json"), one(3))).tagged("row")
    table = make_table(dynalite_process, row)
    writing = asyncio.create_task(asyncio.to_thread(file.write_bytes, gzip.compress(row.content())))
    report = await import_table(options(dynalite_process, table, file, tmp_path / "state"))
    await writing
    assert (report.items, report.rejected) == (2, 1)
    assert in_order(dynalite_process.items(table)) == in_order(row.stored())
    assert about(read_rejects(tmp_path / "state"), file) == row.rejects()


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip, which a stream can't tell"])
async def test_standard_input(pack: Callable[[bytes], bytes], dynalite_process: Server, tmp_path: Path) -> None:
    row = Row(name="", lines=(one(1), bad(b"bad", "not_json"), one(3)), end=b"").tagged("row")
    table = make_table(dynalite_process, row)
    report = await import_table(
        options(dynalite_process, table, "-", tmp_path / "state"), input=io.BytesIO(pack(row.content()))
    )
    rejects = read_rejects(tmp_path / "state")
    if pack is bytes:
        assert in_order(dynalite_process.items(table)) == in_order(row.stored())
        assert about(rejects, Path("-")) == row.rejects()
    else:
        assert (report.items, report.rejected) == (0, pack(row.content()).count(b"\n") + 1)
        assert {reject["reason"] for reject in rejects} <= {"invalid_utf8", "not_json"}


# --- rejects


async def test_more_rejects_than_allowed(dynalite_process: Server, tmp_path: Path) -> None:
    """The import stops, and every reject that it counted is in the file, once, in order."""
    file = tmp_path / "in.json"
    file.write_bytes(b"bad\n" * 50_000)
    table = dynalite_process.create_table(key=PK)
    with pytest.raises(TooManyRejectsError, match="more than the 10 allowed"):
        await import_table(options(dynalite_process, table, file, tmp_path / "state", max_rejects=10))
    offsets = [reject["offset"] for reject in read_rejects(tmp_path / "state")]
    assert len(offsets) > 10
    assert offsets == list(range(0, 4 * len(offsets), 4))


async def test_rejects_of_an_earlier_run_are_kept(dynalite_process: Server, tmp_path: Path) -> None:
    """A rejects file that is named is added to; and a state folder below the source is not read as input."""
    (tmp_path / "in.json").write_bytes(b'bad\n{"pk":"a"}\n')
    table = dynalite_process.create_table(key=PK)
    for run in (1, 2):
        for more in ({}, {"rejects": str(tmp_path / "_rejects.jsonl")}):
            job = options(dynalite_process, table, tmp_path, tmp_path / ".state", **more)
            report = await import_table(job)
            assert (report.items, report.rejected, report.files) == (1, 1, 1)
        assert len((tmp_path / "_rejects.jsonl").read_bytes().splitlines()) == run
        assert len(read_rejects(tmp_path / ".state")) == run


async def test_rejects_that_can_not_be_written(dynalite_process: Server, tmp_path: Path) -> None:
    """That is found before anything is written, and leaves nothing behind."""
    (tmp_path / "in.json").write_bytes(b"bad\n")
    (tmp_path / "rejects").mkdir()
    table = dynalite_process.create_table(key=PK)
    job = options(dynalite_process, table, tmp_path / "in.json", tmp_path / "s", rejects=str(tmp_path / "rejects"))
    with pytest.raises(PreflightError, match="rejects can't be written: Is a directory"):
        await import_table(job)
