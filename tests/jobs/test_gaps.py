"""Files that are not the whole of an export are refused, or where they are named one by one, told of."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from ddbio import export_table, import_table
from ddbio.errors import DdbioError, LimitReachedError, UsageError
from ddbio.events import Event, Warned
from ddbio.options import Capacity, Connection, ExportOptions, ImportOptions
from ddbio.storage.base import MANIFEST
from tests.conftest import StartCounting
from tests.kit.marks import few
from tests.kit.servers.aws import Server
from tests.kit.servers.counting import CountingServer
from tests.kit.servers.http import Handler, Reply, Request
from tests.kit.servers.replies import Hook, error_reply
from tests.kit.servers.tables import Table

ITEMS = 3_000
FIRST, SECOND, THIRD = (f"T-000{number}-00000.json" for number in range(3))


@pytest.fixture
async def server(counting: StartCounting) -> CountingServer:
    return await counting(Table(name="T", items=ITEMS), Table(name="Copy", mode="stored"))


def connection(server: CountingServer, s3: Server | None = None) -> Connection:
    return Connection(
        region="us-east-1", dynamodb_endpoint_url=server.url, s3_endpoint_url=None if s3 is None else s3.url
    )


async def export(server: CountingServer, folder: Path | str, s3: Server | None = None, **more: Any) -> None:
    options = {"capacity": Capacity(units=1e5), "segments": 3, **more}
    await export_table(ExportOptions(table="T", destination=str(folder), connection=connection(server, s3), **options))


async def unfinished(server: CountingServer, folder: Path | str, s3: Server | None = None) -> None:
    """An export that was stopped after its first file, and left its journal.

    It reads one segment after the other, each of 20 units: the first one is sealed before the second reaches the limit.
    """
    with pytest.raises(LimitReachedError):
        await export(server, folder, s3, concurrency=1, max_units=21)


async def warnings(
    server: CountingServer, source: Path | str, state: Path, s3: Server | None = None, **more: Any
) -> list[str]:
    """What an import from there warns of."""
    told: list[Event] = []
    options = ImportOptions(
        table="Copy",
        source=str(source),
        connection=connection(server, s3),
        capacity=Capacity(units=1e5),
        state=str(state),
        **more,
    )
    await import_table(options, observer=told.append)
    return [event.message for event in told if isinstance(event, Warned)]


@asynccontextmanager
async def refused(
    server: CountingServer, source: Path | str, state: Path, told: str, **more: Any
) -> AsyncIterator[None]:
    """Nothing is imported from there, nor written anywhere; in the end it is, where that is allowed."""
    before = server.account.totals("write").requests
    with pytest.raises(UsageError) as caught:
        await warnings(server, source, state, **more)
    assert f"{told}: nothing was imported." in caught.value.message
    assert caught.value.hint == "To import what is there all the same, use --allow-partial."
    assert server.account.totals("write").requests == before
    assert not state.exists()
    yield
    (message, *_) = await warnings(server, source, state, allow_partial=True, **more)
    assert message.startswith(f"{told}: ")
    assert server.account.totals("write").requests > before


async def test_a_whole_export_and_one_of_its_files_give_no_warning(server: CountingServer, tmp_path: Path) -> None:
    out = tmp_path / "in" / "out"
    await export(server, out)
    for number, source in enumerate([out, out / FIRST, tmp_path / "in", out / "*"]):
        assert await warnings(server, source, tmp_path / f"state {number}") == []


def remove(folder: Path) -> None:
    (folder / FIRST).unlink()


def shorten(folder: Path) -> None:
    lines = (folder / FIRST).read_bytes().splitlines(keepends=True)
    (folder / FIRST).write_bytes(b"".join(lines[:-1]))


def both(folder: Path) -> None:
    remove(folder)
    (folder / SECOND).write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (remove, f"1 file that the import does not read, like {FIRST}"),
        (shorten, f"another size for 1 file that it reads, like {FIRST}"),
        (both, f"1 file that the import does not read, like {FIRST}, and another size for 1 file that it reads, like"),
    ],
)
@pytest.mark.parametrize("above", few([False, True], 1))
async def test_what_the_manifest_lists_has_to_be_there(
    server: CountingServer, tmp_path: Path, damage: Callable[[Path], None], told: str, above: bool
) -> None:
    out = tmp_path / "in" / "out"
    await export(server, out)
    damage(out)
    told = f"The manifest of {out} lists {told}" + (f" {SECOND}" if damage is both else "")
    async with refused(server, tmp_path / "in" if above else out, tmp_path / "state", told):
        pass
    for number, pattern in enumerate(["in/out/*.json", "in/*/T-*", "in/o*"]):
        (message,) = await warnings(server, tmp_path / pattern, tmp_path / f"state {number}")
        assert message.startswith(f"{told}: ")


async def test_a_named_file_is_checked_alone_and_must_be_whole(server: CountingServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    await export(server, out)
    both(out)
    assert await warnings(server, out / THIRD, tmp_path / "a") == []
    (message,) = await warnings(server, out / SECOND, tmp_path / "b")
    assert f"lists another size for 1 file that it reads, like {SECOND}: " in message


@pytest.mark.parametrize("above", [False, True])
async def test_an_export_that_has_not_ended_is_refused(server: CountingServer, tmp_path: Path, above: bool) -> None:
    out = tmp_path / "in" / "out"
    await unfinished(server, out)
    told = f"The export in {out} has not ended"
    async with refused(server, tmp_path / "in" if above else out, tmp_path / "state", told):
        (file, *_) = out.glob("T-*")
        for number, named in enumerate([file, out / "*.json"]):
            assert await warnings(server, named, tmp_path / f"state {number}") == [
                f"{told}: what is imported is not the whole table."
            ]


async def test_every_export_below_a_folder_has_to_be_whole(server: CountingServer, tmp_path: Path) -> None:
    await export(server, tmp_path / "in" / "a")
    for name in ("b", "c"):
        await unfinished(server, tmp_path / "in" / name)
    with pytest.raises(UsageError, match=r"/b has not ended: nothing was imported\. 1 other export is not whole"):
        await warnings(server, tmp_path / "in", tmp_path / "state")
    told = await warnings(server, tmp_path / "in", tmp_path / "state", allow_partial=True)
    assert [message.partition(" has")[0][-1] for message in told] == ["b", "c"]


async def test_part_of_a_file_is_reported_missing_without_a_manifest(server: CountingServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    await export(server, out)
    part = out / f"{FIRST}.20260101T000000Z-0a0b0c-0-0.part"
    part.touch()
    (out / f"{FIRST}.part").touch()  # of another program
    assert await warnings(server, out, tmp_path / "a") == []
    (out / MANIFEST).unlink()
    told = f"{out} holds a file that an export has not finished, {part.name}"
    async with refused(server, out, tmp_path / "b", told):
        assert await warnings(server, out / FIRST, tmp_path / "c") == []


@pytest.mark.exhaustive
async def test_in_s3_an_export_is_to_be_whole_too(server: CountingServer, moto: Server, tmp_path: Path) -> None:
    bucket, client = moto.create_bucket(), moto.client("s3")
    whole, part = f"s3://{bucket}/in/whole", f"s3://{bucket}/in/part"
    await export(server, whole, moto)
    assert await warnings(server, f"s3://{bucket}/in", tmp_path / "a", moto) == []
    await unfinished(server, part, moto)
    for number, source in enumerate([part, f"s3://{bucket}/in", f"s3://{bucket}"]):
        state = tmp_path / f"state {number}"
        async with refused(server, source, state, f"The export in {part} has not ended", s3=moto):
            pass
    client.delete_object(Bucket=bucket, Key=f"in/whole/{FIRST}")
    told = f"The manifest of {whole} lists 1 file that the import does not read, like {FIRST}"
    async with refused(server, whole, tmp_path / "b", told, s3=moto):
        assert await warnings(server, f"{whole}/{SECOND}", tmp_path / "c", moto) == []


def refuse_after(accepted: int) -> Hook:
    """A service that takes the permission to write away after a number of writes."""
    writes = count()

    async def answer(request: Request, serve: Handler) -> Reply:
        if request.operation == "BatchWriteItem" and next(writes) >= accepted:
            return error_reply("AccessDeniedException", "not authorized")
        return await serve(request)

    return answer


async def test_an_import_with_its_state_in_the_source_can_be_resumed(server: CountingServer, tmp_path: Path) -> None:
    source, state = tmp_path / "in", tmp_path / "in" / "state"
    await export(server, source)
    rejects = str(tmp_path / "rejects.jsonl")
    server.on_request = refuse_after(100)  # of 120, so that the first file is in
    with pytest.raises(DdbioError, match="not authorized"):
        await warnings(server, source, state, rejects=rejects, concurrency=1)
    server.on_request = None
    assert (state / "_ddbio" / "journal").is_dir()
    assert await warnings(server, source, state, rejects=rejects, resume=True) == []


async def test_unused_type_hints_of_an_export_below_are_reported(server: CountingServer, tmp_path: Path) -> None:
    for name in ("a", "b"):
        await export(server, tmp_path / "in" / name)
        manifest = tmp_path / "in" / name / MANIFEST
        members = {**json.loads(manifest.read_text()), "type_hints": {"x": "SS"}, "checksum": None}
        manifest.write_text(json.dumps(members))
    (message,) = await warnings(server, tmp_path / "in", tmp_path / "state")
    assert message.startswith(
        f"The type hints of the export in {tmp_path / 'in' / 'a'} and 1 other export are not used"
    )
    assert await warnings(server, tmp_path / "in" / "a", tmp_path / "state 2") == []


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({}, False),
        ({"account": "999999999999"}, True),
        ({"region": "eu-west-1"}, True),
        ({"account": "999999999999", "table": "Other"}, False),
        ({"account": "999999999999", "command": "import"}, False),
    ],
)
async def test_an_export_of_that_table_elsewhere_is_told_of(
    server: CountingServer, tmp_path: Path, changes: dict[str, str], warned: bool
) -> None:
    out = tmp_path / "out"
    await export(server, out)
    manifest = json.loads((out / MANIFEST).read_text())
    identity = {**manifest["identity"], "table": "Copy", **changes}
    (out / MANIFEST).write_text(json.dumps({**manifest, "identity": identity, "checksum": None}))
    told = await warnings(server, out, tmp_path / "state")
    account = manifest["identity"]["account"]
    assert told == [
        f"The export in {out} is of table Copy of account {identity['account']} in {identity['region']}; it is "
        f"imported into the table of that name of account {account} in us-east-1."
    ] * (1 if warned else 0)
