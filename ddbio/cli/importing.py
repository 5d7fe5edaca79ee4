"""`ddbio import`."""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from typing import Annotated, Any

import typer

from ddbio.cli import common
from ddbio.cli.common import STREAM, Telling, one_of, whole
from ddbio.events import Observer
from ddbio.model import InputFormat
from ddbio.options import AUTO, RETRY_SECONDS, ImportOptions
from ddbio.report import JobReport

EXAMPLES = """\
Examples:

\b
  A file, with at most 1,000 write units a second:
    ddbio import -r eu-west-1 -t Orders -c 1000 -s orders.json
\b
  A folder, or a prefix in S3, with everything below it:
    ddbio import -r eu-west-1 -t Orders -s orders/
    ddbio import -r eu-west-1 -t Orders -s s3://backup/orders
\b
  Two sources, the second one's items over those of the first:
    ddbio import -r eu-west-1 -t Orders -s orders/ -s s3://backup/changes
\b
  From another program:
    zcat orders.json.gz | ddbio import -r eu-west-1 -t Orders -s -

Memory of an import, at most about: 80 MB, and for each process 75 MB + parts of files read at once x 5 MB + three times
the batches in flight (concurrency x 25 items, never over 64 MiB); parts x 12 MiB more while records wait for others to
get in. Where it is not given, the concurrency grows to 128 batches and 16 parts at most. It does not grow with the
files.
"""


def import_(
    context: typer.Context,
    table: common.Table,
    source: Annotated[
        list[str],
        typer.Option(
            "--source",
            "-s",
            metavar="PLACE",
            help="A file, a folder (walked), a glob, s3://bucket/prefix, or - for standard input. Read are .json, "
            ".jsonl and .ndjson, each plain, .gz or .zst: one item a line. Given more than once, one after the other.",
        ),
    ],
    region: common.Region = None,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            "-p",
            parser=whole(1),
            metavar="N",
            show_default=False,
            help="Worker processes at most: a small budget or a small job uses fewer. Default: one for each CPU core; "
            "from standard input always 1.",
        ),
    ] = None,
    capacity: common.CapacityLimit = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            parser=whole(1),
            metavar="N",
            show_default=False,
            help="Batches in flight, and parts of files read, at once in each process; for memory see below. Default: "
            "as many as bring the most, at most 128 batches and 16 parts.",
        ),
    ] = None,
    input_format: Annotated[
        InputFormat,
        typer.Option(
            "--format",
            **one_of("auto", "jsonl", "dynamodb-json"),
            help='Plain JSON, or DynamoDB JSON with or without "Item" around it; auto tells them apart.',
        ),
    ] = "auto",
    rejects: Annotated[
        str | None,
        typer.Option(
            parser=common.own_path,
            metavar="FILE",
            help="Where records that can't be written go, behind what is there. Default: a new file in --state.",
        ),
    ] = None,
    max_rejects: Annotated[
        int, typer.Option(parser=whole(0), metavar="N", help="More rejected records than this stop the import.")
    ] = 1_000,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first rejected record.")] = False,
    allow_partial: Annotated[
        bool,
        typer.Option("--allow-partial", help="Import what is there of an export that is not whole, with a warning."),
    ] = False,
    burst: common.Burst = 0,
    max_units: common.MaxUnits = None,
    max_duration: common.MaxDuration = None,
    retry_timeout: common.RetryTimeout = RETRY_SECONDS,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the unfinished import of these sources into this table.")
    ] = False,
    state: Annotated[
        str | None,
        typer.Option(
            parser=common.own_path,
            metavar="DIR",
            help="Folder for the import's own files. Default: .ddbio/TABLE-HASH in the current folder.",
        ),
    ] = None,
    profile: common.Profile = None,
    endpoint_url: common.EndpointUrl = None,
    dynamodb_endpoint_url: common.DynamodbEndpointUrl = None,
    s3_endpoint_url: common.S3EndpointUrl = None,
    report: common.Json = False,
    quiet: common.Quiet = False,
    verbose: common.Verbose = False,
) -> int:
    """Write items from files into an existing table.

    Records that can't be items are put aside with the reason, and the rest goes on (exit code 3). A line replaces an
    earlier line with the same key, and a line of an earlier source; between files of one source, and between parts of a
    large file, no order is promised.
    """
    if context.args:
        context.fail(
            f"{context.args[0]} is one argument too many: give -s before each source, quote a glob, so that the shell "
            "does not expand it, or name the folder."
        )
    stream = STREAM in source

    def job(observer: Observer) -> Coroutine[Any, Any, JobReport]:
        from ddbio.capacity import Control  # noqa: PLC0415
        from ddbio.cli.pausing import pausable  # noqa: PLC0415
        from ddbio.jobs.import_ import import_table  # noqa: PLC0415 - heavy, and not needed for help

        options = ImportOptions(
            table=table,
            source=source[0] if len(source) == 1 else tuple(source),
            connection=common.connection(region, profile, endpoint_url, dynamodb_endpoint_url, s3_endpoint_url),
            capacity=capacity or AUTO,
            processes=1 if stream else processes or common.cores(),
            concurrency=concurrency,
            format=input_format,
            rejects=rejects,
            max_rejects=max_rejects,
            strict=strict,
            allow_partial=allow_partial,
            burst_seconds=burst,
            max_units=max_units,
            max_seconds=max_duration,
            retry_seconds=retry_timeout,
            resume=resume,
            state=state,
        )
        control = Control()
        running = import_table(options, observer=observer, control=control, input=sys.stdin.buffer if stream else None)
        return pausable(running, control, observer)

    from ddbio.cli.run import run_job, tell_moved  # noqa: PLC0415 - heavy, and not needed for help

    telling = Telling(report=report, quiet=quiet, verbose=verbose)
    return run_job(job, telling, stream=False, resumable=not stream, conclude=tell_moved)
