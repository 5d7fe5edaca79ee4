"""Many files of one item: few requests, and no more when the import is stopped and resumed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from ddbio import import_table
from ddbio.options import Capacity, Connection, ImportOptions
from tests.conftest import StartCounting
from tests.kit.servers.counting import CountingServer
from tests.kit.servers.tables import Table
from tests.kit.stopping import Journaled, cancelled

FILES = 2_000
KEY = (("pk", "S"), ("sk", "N"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(FILES):
        (folder / f"{number}.json").write_text(json.dumps({"pk": f"k{number}", "sk": number}) + "\n")
    return folder


@pytest.fixture
async def server(counting: StartCounting) -> CountingServer:
    return await counting(Table(mode="stored", key=KEY))


def options(server: CountingServer, source: Path, processes: int) -> ImportOptions:
    return ImportOptions(
        table="T",
        source=str(source),
        connection=Connection(region="us-east-1", dynamodb_endpoint_url=server.url),
        capacity=Capacity(units=1_000_000),
        processes=processes,
        state=str(source.with_name("state")),
    )


@pytest.mark.parametrize("processes", [1, 2])
async def test_files_of_one_item_fill_batches(server: CountingServer, source: Path, processes: int) -> None:
    report = await import_table(options(server, source, processes))
    assert (report.items, report.files, report.rejected) == (FILES, FILES, 0)
    assert len(server.stored()) == FILES
    assert report.used.requests == server.account.operations["BatchWriteItem"] <= 2 * FILES / 25


async def test_an_import_of_many_files_is_resumed(server: CountingServer, source: Path, journaled: Journaled) -> None:
    given = options(server, source, 1)
    assert await cancelled(asyncio.ensure_future(import_table(given)), journaled.written, 0.0)
    report = await import_table(ImportOptions(**{**vars(given), "resume": True}))
    assert report.resumed
    assert (report.items, report.files) == (FILES, FILES)
    assert {item["pk"]["S"] for item in server.stored().items} == {f"k{number}" for number in range(FILES)}
