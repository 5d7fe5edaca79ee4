"""`ddbio import`."""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from typing import Annotated, Any

import typer

from ddbio.cli import common
from ddbio.cli.common import STREAM, OutputOptions, number, one_of
from ddbio.model import InputFormat
from ddbio.options import AUTO, RETRY_SECONDS, ImportOptions
from ddbio.report import JobReport

EXAMPLES = """\
Examples:

\b
  Import a file, with at most 1,000 write units per second:
    ddbio import -r eu-west-1 -t Orders -c 1000 -s orders.json
\b
  Import a folder, or an S3 prefix, with everything below it:
    ddbio import -r eu-west-1 -t Orders -s orders/
    ddbio import -r eu-west-1 -t Orders -s s3://backup/orders
\b
  Import two sources; items of the second replace those of the first:
    ddbio import -r eu-west-1 -t Orders -s orders/ -s s3://backup/changes
\b
  Import the output of another program:
    zcat orders.json.gz | ddbio import -r eu-west-1 -t Orders -s -

Memory used by an import with --concurrency N, at most about: 80 MB, plus 75 MB + spans read concurrently x 5 MB + 3 x
the batches in flight (N x 25 items, never over 64 MiB) per process; another 12 MiB per span while records wait for an
earlier put of the same key. Without --concurrency, N grows to 128 batches and 16 spans at most. Memory does not grow
with the files.
"""


def import_(
    context: typer.Context,
    table: common.Table,
    source: Annotated[
        list[str],
        typer.Option(
            "--source",
            "-s",
            metavar="LOCATION",
            help="A file, a folder (with its subfolders), a glob, s3://bucket/prefix, or - for standard input. Files "
            "hold one item per line and end in .json, .jsonl or .ndjson, optionally followed by .gz or .zst. Repeat "
            "the option to import several sources in order.",
        ),
    ],
    region: common.Region = None,
    processes: common.Processes = None,
    capacity: common.CapacityLimit = None,
    concurrency: Annotated[
        int | None,
        number(
            "Batches in flight, and spans of files read, concurrently in each process; see below for memory. Default: "
            "adjusted for the highest throughput, at most 128 batches and 16 spans."
        ),
    ] = None,
    input_format: Annotated[
        InputFormat,
        typer.Option(
            "--format",
            **one_of("auto", "jsonl", "dynamodb-json"),
            help='Layout of the records: plain JSON, or DynamoDB JSON with or without an enclosing "Item". auto '
            "decides for each record.",
        ),
    ] = "auto",
    rejects: Annotated[
        str | None,
        typer.Option(
            parser=common.own_path,
            metavar="FILE",
            help="File to which rejected records are appended. Default: a new file in the --state folder.",
        ),
    ] = None,
    max_rejects: Annotated[int, number("Stop when more than N records have been rejected.", least=0)] = 1_000,
    strict: Annotated[bool, typer.Option("--strict", help="Stop as soon as a record is rejected.")] = False,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Import an incomplete export, with a warning.")
    ] = False,
    burst: common.Burst = 0,
    max_units: common.MaxUnits = None,
    max_duration: common.MaxDuration = None,
    retry_timeout: common.RetryTimeout = RETRY_SECONDS,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the unfinished import of these sources into this table.")
    ] = False,
    state: Annotated[
        str | None,
        typer.Option(
            parser=common.own_path,
            metavar="DIR",
            help="Folder for the import's journal and rejects. Default: .ddbio/TABLE-HASH in the current folder.",
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
    """Import items from files into an existing table.

    Records that can't be written are saved to a rejects file with the reason, and the import continues (exit code 3).
    A line replaces an earlier line with the same key, also one in an earlier source. The order between files of one
    source, and between spans of a large file, is undefined.
    """
    if context.args:
        context.fail(
            f"Unexpected argument {context.args[0]}: give -s before each source, and quote a glob so that the shell "
            "does not expand it, or name the folder."
        )
    stream = STREAM in source

    def job(**steering: Any) -> Coroutine[Any, Any, JobReport]:
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
        return import_table(options, input=sys.stdin.buffer if stream else None, **steering)

    from ddbio.cli.run import report_moved, run_job  # noqa: PLC0415 - heavy, and not needed for help

    output = OutputOptions(report=report, quiet=quiet, verbose=verbose)
    return run_job(job, output, stream=False, resumable=not stream, conclude=report_moved)
