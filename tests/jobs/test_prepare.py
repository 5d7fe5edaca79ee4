"""`prepare` describes, checks and plans a job: it writes nothing, takes no lock and pays for nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ddbio import Connection, export_table
from ddbio.errors import PreflightError
from ddbio.events import silent
from ddbio.jobs.export import Export
from ddbio.jobs.import_ import Import
from ddbio.jobs.opening import opened
from ddbio.jobs.verify import Verification
from ddbio.options import Capacity, ExportOptions, ImportOptions, VerifyOptions
from tests.conftest import StartCounting
from tests.kit.servers.aws import Server
from tests.kit.servers.tables import Table

FAST = Capacity(units=100_000)


async def test_an_export_is_planned_without_a_trace(counting: StartCounting, tmp_path: Path) -> None:
    server = await counting(Table(items=1_000))
    connection = Connection(region="us-east-1", dynamodb_endpoint_url=server.url)
    destination = tmp_path / "out"
    options = ExportOptions(
        table="T", destination=str(destination), connection=connection, capacity=FAST, processes=3, segments=40
    )
    async with opened(connection, None, options.destination, observer=silent, control=None) as services:
        export = await Export.prepare(options, services)
    assert (export.wanted, export.opened.segments, export.budget.rate) == (3, 40, 100_000)
    assert set(server.account.operations) == {"DescribeTable"}
    assert not destination.exists()


async def test_an_import_is_planned_without_a_trace(counting: StartCounting, tmp_path: Path) -> None:
    server = await counting(Table(mode="stored"))
    connection = Connection(region="us-east-1", dynamodb_endpoint_url=server.url)
    source, state = tmp_path / "items.json", tmp_path / "state"
    source.write_text(json.dumps({"pk": "k", "sk": 1}))
    options = ImportOptions(
        table="T", source=str(source), connection=connection, capacity=FAST, processes=3, state=str(state)
    )
    async with opened(connection, None, *options.sources, observer=silent, control=None) as services:
        job = await Import.prepare(options, services)
    assert [split.file for split in job.opened.splits] == [str(source)]
    assert job.source_bytes == source.stat().st_size
    assert set(server.account.operations) == {"DescribeTable"}
    assert sorted(tmp_path.iterdir()) == [source]


async def test_an_export_to_s3_is_planned_without_a_trace(counting: StartCounting, seaweed: Server) -> None:
    server = await counting(Table(items=1_000))
    bucket = seaweed.create_bucket()
    connection = Connection(region="us-east-1", dynamodb_endpoint_url=server.url, s3_endpoint_url=seaweed.url)
    options = ExportOptions(table="T", destination=f"s3://{bucket}/out", connection=connection, capacity=FAST)
    async with opened(connection, None, options.destination, observer=silent, control=None) as services:
        export = await Export.prepare(options, services)
    assert export.location == f"s3://{bucket}/out/"
    assert set(server.account.operations) == {"DescribeTable"}
    assert seaweed.objects(bucket) == {}


async def test_a_verification_is_planned_without_a_trace(counting: StartCounting, tmp_path: Path) -> None:
    server = await counting(Table(items=1_000))
    connection = Connection(region="us-east-1", dynamodb_endpoint_url=server.url)
    out = str(tmp_path / "out")
    await export_table(ExportOptions(table="T", destination=out, connection=connection, capacity=FAST))
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    server.account.operations.clear()
    options = VerifyOptions(source=out, table="T", connection=connection, capacity=FAST, processes=3)
    async with opened(connection, None, options.source, observer=silent, control=None) as services:
        job = await Verification.prepare(options, services, lambda difference: None)
    assert (job.wanted, job.budget.rate, job.export.manifest.totals.items) == (3, 100_000, 1_000)
    assert set(server.account.operations) == {"DescribeTable"}
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == files


async def test_only_beginning_tries_the_destination(counting: StartCounting, tmp_path: Path) -> None:
    server = await counting(Table(items=10))
    connection = Connection(region="us-east-1", dynamodb_endpoint_url=server.url)
    (tmp_path / "file").touch()
    options = ExportOptions(table="T", destination=str(tmp_path / "file"), connection=connection, capacity=FAST)
    async with opened(connection, None, options.destination, observer=silent, control=None) as services:
        export = await Export.prepare(options, services)
        with pytest.raises(PreflightError):
            await export.begin()
