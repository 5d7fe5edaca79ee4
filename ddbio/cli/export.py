"""`ddbio export`."""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from typing import Annotated, Any

import typer

from ddbio.cli import common
from ddbio.cli.common import STREAM, Telling, json_object, one_of, whole
from ddbio.errors import UsageError
from ddbio.events import Observer
from ddbio.model import Compression, OutputFormat
from ddbio.options import AUTO, MAX_SEGMENTS, RETRY_SECONDS, ExportOptions, S3Options, ScanFilter
from ddbio.report import JobReport

EXAMPLES = """\
Examples:

\b
  A table into a folder, with at most 1,000 read units a second:
    ddbio export -r eu-west-1 -t Orders -c 1000 -d orders/
\b
  Into S3, compressed, files of at most 256 MB:
    ddbio export -r eu-west-1 -t Orders -s 256 --compress zstd -d s3://backup/orders
\b
  A look at the first items:
    ddbio export -r eu-west-1 -t Orders -d - | head
\b
  Some items, some attributes (a filter saves no read units):
    ddbio export -r eu-west-1 -t Orders -d old/ --filter-expression '#y < :y' \\
      --projection-expression 'id, #y' --expression-names '{"#y": "year"}' \\
      --expression-values '{":y": {"N": "2020"}}'

Memory of an export, about: 80 MB, and for each process 50 MB + concurrency x 4 MB; to S3 110 MB, and for each process
150 MB + concurrency x 11 MB, or 17 MB compressed. Where it is not given, the concurrency grows to 32 at most. Pages of
more than 1 MB of JSON take more in proportion, a million segments 10 MB, and each 1,000 files 1.5 MB. It does not grow
with the table otherwise.
"""


def export(
    table: common.Table,
    destination: Annotated[
        str,
        typer.Option(
            "--destination", "-d", metavar="PLACE", help="A folder, s3://bucket/prefix, or - for standard output."
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
            "to standard output always 1.",
        ),
    ] = None,
    capacity: common.CapacityLimit = None,
    size: Annotated[
        int,
        typer.Option(
            "--size", "-s", parser=whole(1), metavar="MB", help="Most MB (1,048,576 bytes) in one file, as written."
        ),
    ] = 1024,
    concurrency: Annotated[
        int | None,
        typer.Option(
            parser=whole(1),
            metavar="N",
            show_default=False,
            help="Segments read at once in each process; for memory see below. Default: as many as bring the most, "
            "32 at most.",
        ),
    ] = None,
    segments: Annotated[
        int | None,
        typer.Option(
            parser=whole(1, MAX_SEGMENTS),
            metavar="N",
            show_default=False,
            help="Parts that the table is scanned in. Default: chosen from its size and the number of workers.",
        ),
    ] = None,
    output_format: Annotated[
        OutputFormat,
        typer.Option(
            "--format",
            **one_of("jsonl", "dynamodb-json"),
            help="jsonl: plain JSON; sets become arrays, binary becomes base64. dynamodb-json: every type kept.",
        ),
    ] = "jsonl",
    compress: Annotated[
        Compression, typer.Option(**one_of("none", "gzip", "zstd"), help="How the files are compressed.")
    ] = "none",
    consistent_read: common.ConsistentRead = False,
    index: Annotated[
        str | None, typer.Option(parser=common.name, metavar="NAME", help="Export this index instead of the table.")
    ] = None,
    filter_expression: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Keep the items that satisfy this; saves no read units.")
    ] = None,
    projection_expression: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Attributes to keep; saves no read units.")
    ] = None,
    expression_names: Annotated[
        dict[str, Any] | None,
        typer.Option(parser=json_object, metavar="JSON", help="What #names in the expressions stand for."),
    ] = None,
    expression_values: Annotated[
        dict[str, Any] | None,
        typer.Option(parser=json_object, metavar="JSON", help="What :values stand for, as DynamoDB JSON."),
    ] = None,
    no_fingerprint: Annotated[
        bool,
        typer.Option("--no-fingerprint", help="Save the CPU time of the fingerprints by which 'verify' knows items."),
    ] = False,
    burst: common.Burst = 0,
    max_units: common.MaxUnits = None,
    max_duration: common.MaxDuration = None,
    retry_timeout: common.RetryTimeout = RETRY_SECONDS,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the unfinished export that is in the destination.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the export that is in the destination.")
    ] = False,
    sse: Annotated[
        Any, typer.Option(**one_of("AES256", "aws:kms", "aws:kms:dsse"), help="S3: encryption of the objects.")
    ] = None,
    sse_kms_key_id: Annotated[
        str | None, typer.Option(parser=common.name, metavar="KEY", help="S3: id or ARN of the KMS key.")
    ] = None,
    storage_class: Annotated[
        str | None, typer.Option(parser=common.name, metavar="CLASS", help="S3: storage class, like STANDARD_IA.")
    ] = None,
    acl: Annotated[
        str | None,
        typer.Option(parser=common.name, metavar="ACL", help="S3: canned ACL, like bucket-owner-full-control."),
    ] = None,
    profile: common.Profile = None,
    endpoint_url: common.EndpointUrl = None,
    dynamodb_endpoint_url: common.DynamodbEndpointUrl = None,
    s3_endpoint_url: common.S3EndpointUrl = None,
    report: common.Json = False,
    quiet: common.Quiet = False,
    verbose: common.Verbose = False,
) -> int:
    """Copy a table, or one of its indexes, into files of JSON lines.

    Reads all segments of the table in parallel, within the capacity budget. A file appears under its final name only
    when it is whole: TABLE-SEGMENT-NUMBER.json, and .gz or .zst where compressed.
    """
    stream = destination == STREAM

    def job(observer: Observer) -> Coroutine[Any, Any, JobReport]:
        from ddbio.capacity import Control  # noqa: PLC0415
        from ddbio.cli.pausing import pausable  # noqa: PLC0415
        from ddbio.jobs.export import export_table  # noqa: PLC0415 - heavy, and not needed for help

        s3 = S3Options(sse=sse, kms_key_id=sse_kms_key_id, storage_class=storage_class, acl=acl)
        _check(destination, s3, report=report, overwrite=overwrite)
        options = ExportOptions(
            table=table,
            destination=destination,
            connection=common.connection(region, profile, endpoint_url, dynamodb_endpoint_url, s3_endpoint_url),
            capacity=capacity or AUTO,
            processes=1 if stream else processes or common.cores(),
            concurrency=concurrency,
            segments=segments,
            file_size_mb=size,
            format=output_format,
            compress=compress,
            scan=ScanFilter(
                index=index,
                consistent=consistent_read,
                filter_expression=filter_expression,
                projection_expression=projection_expression,
                expression_names=expression_names or {},
                expression_values=expression_values or {},
            ),
            fingerprint=not no_fingerprint,
            burst_seconds=burst,
            max_units=max_units,
            max_seconds=max_duration,
            retry_seconds=retry_timeout,
            resume=resume,
            overwrite=overwrite,
            s3=s3,
        )
        control = Control()
        running = export_table(
            options, observer=observer, control=control, output=sys.stdout.buffer if stream else None
        )
        return pausable(running, control, observer)

    from ddbio.cli.run import run_job, tell_moved  # noqa: PLC0415 - heavy, and not needed for help

    telling = Telling(report=report, quiet=quiet, verbose=verbose)
    return run_job(job, telling, stream=stream, resumable=not stream, conclude=tell_moved)


def _check(destination: str, s3: S3Options, *, report: bool, overwrite: bool) -> None:
    if destination == STREAM and report:
        raise UsageError("--json and -d - both write to standard output.", hint="Leave one of them out.")
    if destination == STREAM and overwrite:
        raise UsageError("--overwrite is about what a destination holds; standard output holds nothing.")
    if s3.parameters() and not destination.startswith("s3://"):
        raise UsageError(
            "--sse, --sse-kms-key-id, --storage-class and --acl are for S3.", hint="Name an s3:// destination."
        )
