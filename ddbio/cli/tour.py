"""The steps of `ddbio demo`."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from ddbio.aws.session import Session
from ddbio.cli.failures import Exit, fail, put, say
from ddbio.cli.figures import duration, size
from ddbio.cli.run import cancellable, log_details
from ddbio.embedded import aws_settings, embedded_aws
from ddbio.errors import LedgerError
from ddbio.generate import blocks, write_file
from ddbio.items import Item, ScanOptions, scan
from ddbio.jobs.export import export_table
from ddbio.jobs.import_ import import_table
from ddbio.model import Compression, OutputFormat
from ddbio.options import Capacity, Connection, ExportOptions, ImportOptions
from ddbio.report import JobReport
from ddbio.runtime import run
from ddbio.words import count

TABLE = "demo"
COPY = "demo-copy"
BUCKET = "demo-bucket"
CAPACITY = Capacity(units=4_000)
SEGMENTS = 2
"""Few, because the embedded server reads the whole table for each segment."""
NEXT = """
Try next, with your own table and bucket{where}:
  ddbio export -t TABLE -c 50% -d folder/              export a table to a folder
  ddbio export -t TABLE -d - | head -3                 look at the first items
  ddbio export -t TABLE --compress zstd -d s3://BUCKET/PREFIX
  ddbio verify -t TABLE -s folder/                     compare the files with the table
  ddbio import -t TABLE -c 1000 -s folder/             import files into a table
  ddbio import -t TABLE -c 1000 -s folder/ --resume    continue after an interruption; also for export
  ddbio generate -c 100000 -f test.json                generate test items
  ddbio export --help                                  all options\
"""


def show(items: int, *, verbose: bool) -> Exit:
    """Run the demonstration and return the exit code."""
    log_details(verbose)
    try:
        with aws_settings(), tempfile.TemporaryDirectory(prefix="ddbio-demo-") as folder:
            run(cancellable(_demo(items, Path(folder)), lambda: say("Stopping.")))
    except (asyncio.CancelledError, KeyboardInterrupt):
        say("Interrupted. Nothing is left running.")
        return Exit.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the outermost handler of the process
        return fail(error, verbose=verbose)
    program = sys.argv[0] if Path(sys.argv[0]).name == "ddbio" else "python -m ddbio"
    for line in NEXT.format(where="" if shutil.which("ddbio") else f" (where ddbio is {program})").split("\n"):
        _print(line)
    return Exit.DONE


async def _demo(items: int, folder: Path) -> None:
    began = time.perf_counter()
    _print("Starting emulators of DynamoDB and S3 ...")
    async with embedded_aws() as connection:
        await _create(connection)
        _step(
            f"They listen on {connection.endpoint_url} and have the tables {TABLE} and {COPY} and the bucket {BUCKET}.",
            began,
        )
        await _Tour(connection, folder).take(items)
    _step("Done, and nothing is left running.", began)


async def _create(connection: Connection) -> None:
    async with Session(connection) as session:
        async with session.dynamodb_client() as dynamodb:
            for name in (TABLE, COPY):
                await dynamodb.create_table(
                    TableName=name,
                    AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in ("hash", "range")],
                    KeySchema=[
                        {"AttributeName": "hash", "KeyType": "HASH"},
                        {"AttributeName": "range", "KeyType": "RANGE"},
                    ],
                    BillingMode="PAY_PER_REQUEST",
                )
        async with session.s3_client() as s3:
            await s3.create_bucket(Bucket=BUCKET)


@dataclass(frozen=True)
class _Tour:
    connection: Connection
    folder: Path

    async def take(self, items: int) -> None:
        """Carry out all steps, printing each one when it is done; raises LedgerError if the two tables differ."""
        file, exported, objects = self.folder / "test.json", self.folder / "export", f"s3://{BUCKET}/export"
        began = time.perf_counter()
        written = await asyncio.to_thread(write_file, blocks(items, seed=1), str(file))
        _step(f"Generated {count(items, 'item')}: {size(written)} of JSON lines.", began)
        _job(f"Imported them into {TABLE}", await self._import(TABLE, str(file)))
        _job(f"Exported {TABLE} to a folder, as plain JSON", await self._export(str(exported), "jsonl", "none"))
        _job(f"Exported {TABLE} to S3, as DynamoDB JSON in zstd", await self._export(objects, "dynamodb-json", "zstd"))
        _job(f"Imported the objects into {COPY}", await self._import(COPY, objects))
        began = time.perf_counter()
        table, copy = await asyncio.gather(self._items(TABLE), self._items(COPY))
        if len(table) != items or table != copy:
            raise LedgerError(f"{TABLE} has {len(table):,} items and {COPY} has {len(copy):,}, and they differ.")
        _step(f"Compared the two tables: {count(len(table), 'item')}, all equal.", began)

    async def _import(self, table: str, source: str) -> JobReport:
        state = str(self.folder / "state")
        return await import_table(
            ImportOptions(table=table, source=source, connection=self.connection, capacity=CAPACITY, state=state)
        )

    async def _export(self, destination: str, layout: OutputFormat, compress: Compression) -> JobReport:
        options = ExportOptions(
            table=TABLE,
            destination=destination,
            connection=self.connection,
            capacity=CAPACITY,
            segments=SEGMENTS,
            format=layout,
            compress=compress,
        )
        return await export_table(options)

    async def _items(self, table: str) -> dict[tuple[str, str], Item]:
        found = scan(ScanOptions(table=table, connection=self.connection, capacity=CAPACITY))
        return {(item["hash"]["S"], item["range"]["S"]): item async for item in found}


def _print(text: str) -> None:
    put(text, sys.stdout)


def _step(text: str, began: float) -> None:
    _print(f"  {duration(time.perf_counter() - began):>7}  {text}")


def _job(text: str, report: JobReport) -> None:
    rate = report.items / report.used.seconds
    _print(
        f"  {duration(report.used.seconds):>7}  {text}: {count(report.items, 'item')}, {size(report.bytes)}, "
        f"{rate:,.0f} items/s, {count(report.used.requests, 'request')}."
    )
