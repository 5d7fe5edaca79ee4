"""An import of files that are not the whole of an export says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddbio import export_table, import_table
from ddbio.errors import LimitReachedError
from ddbio.events import Event, Warned
from ddbio.options import Capacity, Connection, ExportOptions, ImportOptions
from tests.conftest import StartCounting
from tests.servers.counting import CountingServer
from tests.servers.tables import Table


@pytest.fixture
async def server(counting: StartCounting) -> CountingServer:
    return await counting(Table(name="T", items=3_000), Table(name="Copy", mode="stored"))


async def export(server: CountingServer, folder: Path, capacity: float = 1e5, max_units: float | None = None) -> None:
    options = ExportOptions(
        table="T",
        destination=str(folder),
        connection=Connection(region="us-east-1", dynamodb_endpoint_url=server.url),
        capacity=Capacity(units=capacity),
        max_units=max_units,
        segments=3,
    )
    await export_table(options)


async def warnings(server: CountingServer, source: str, state: Path) -> list[str]:
    """What an import from there warns of."""
    told: list[Event] = []
    options = ImportOptions(
        table="Copy",
        source=source,
        connection=Connection(region="us-east-1", dynamodb_endpoint_url=server.url),
        capacity=Capacity(units=1e5),
        state=str(state),
    )
    await import_table(options, observer=told.append)
    return [event.message for event in told if isinstance(event, Warned)]


async def test_a_whole_export_and_one_file_of_it_are_nothing_to_tell_of(server: CountingServer, tmp_path: Path) -> None:
    await export(server, tmp_path / "out")
    assert await warnings(server, str(tmp_path / "out"), tmp_path / "a") == []
    (file, *_) = sorted((tmp_path / "out").glob("T-*"))
    assert await warnings(server, str(file), tmp_path / "b") == []


async def test_a_file_that_the_manifest_lists_and_that_is_gone_is_named(server: CountingServer, tmp_path: Path) -> None:
    await export(server, tmp_path / "out")
    (file, *_) = sorted((tmp_path / "out").glob("T-*"))
    file.unlink()
    (told,) = await warnings(server, str(tmp_path / "out"), tmp_path / "state")
    assert f"lists 1 file that the import does not read, like {file.name}: " in told


async def test_an_export_that_has_not_ended_is_told_of(server: CountingServer, tmp_path: Path) -> None:
    with pytest.raises(LimitReachedError):
        await export(server, tmp_path / "out", capacity=20, max_units=20)
    (told,) = await warnings(server, str(tmp_path / "out"), tmp_path / "state")
    assert told == f"The export in {tmp_path / 'out'} has not ended: what is imported is not the whole table."
