"""`ddbio export`."""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from typing import Annotated, Any

import typer

from ddbio.cli import common
from ddbio.cli.common import STREAM, OutputOptions, json_object, named, number, one_of
from ddbio.errors import UsageError
from ddbio.model import Compression, OutputFormat
from ddbio.options import AUTO, MAX_SEGMENTS, RETRY_SECONDS, ExportOptions, S3Options, ScanFilter
from ddbio.report import JobReport

EXAMPLES = """\
Examples:

\b
  Export a table to a folder, with at most 1,000 read units per second:
    ddbio export -r eu-west-1 -t Orders -c 1000 -d orders/
\b
  Export to S3, compressed, in files of at most 256 MB:
    ddbio export -r eu-west-1 -t Orders -s 256 --compress zstd -d s3://backup/orders
\b
  Look at the first items:
    ddbio export -r eu-west-1 -t Orders -d - | head
\b
  Export some items and some attributes (filters do not reduce the read units consumed):
    ddbio export -r eu-west-1 -t Orders -d old/ --filter-expression '#y < :y' \\
      --projection-expression 'id, #y' --expression-names '{"#y": "year"}' \\
      --expression-values '{":y": {"N": "2020"}}'

Memory used by an export with --concurrency N, approximately: 80 MB, plus 50 MB + N x 4 MB per process. To S3: 110 MB,
plus 150 MB + N x 11 MB (17 MB if compressed) per process. Without --concurrency, N grows to 32 at most. Pages of more
than 1 MB of JSON need proportionally more, a million segments 10 MB, and every 1,000 files 1.5 MB. Otherwise memory
does not grow with the table.
"""


def export(
    table: common.Table,
    destination: Annotated[
        str,
        typer.Option(
            "--destination", "-d", metavar="LOCATION", help="A folder, s3://bucket/prefix, or - for standard output."
        ),
    ],
    region: common.Region = None,
    processes: common.Processes = None,
    capacity: common.CapacityLimit = None,
    size: Annotated[
        int, number("Maximum size of a file as written, in MB of 2^20 bytes.", "--size", "-s", metavar="MB")
    ] = 1024,
    concurrency: Annotated[
        int | None,
        number(
            "Segments read concurrently in each process; see below for memory. Default: adjusted for the highest "
            "throughput, 32 at most."
        ),
    ] = None,
    segments: Annotated[
        int | None,
        number(
            "Segments of the parallel Scan, 1 to 1,000,000. Default: chosen from the table's size and the number of "
            "workers.",
            most=MAX_SEGMENTS,
        ),
    ] = None,
    output_format: Annotated[
        OutputFormat,
        typer.Option(
            "--format",
            **one_of("jsonl", "dynamodb-json"),
            help="jsonl: plain JSON, in which sets become arrays and binary becomes base64. dynamodb-json: DynamoDB "
            "JSON, which keeps every type.",
        ),
    ] = "jsonl",
    compress: Annotated[
        Compression, typer.Option(**one_of("none", "gzip", "zstd"), help="Compression of the files.")
    ] = "none",
    consistent_read: common.ConsistentRead = False,
    index: Annotated[str | None, named("NAME", "Export this index instead of the table.")] = None,
    filter_expression: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Export only the items that match this expression; does not reduce the read units consumed.",
        ),
    ] = None,
    projection_expression: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Attributes to export; does not reduce the read units consumed.")
    ] = None,
    expression_names: Annotated[
        dict[str, Any] | None,
        typer.Option(
            parser=json_object, metavar="JSON", help="Attribute names for the #placeholders in the expressions."
        ),
    ] = None,
    expression_values: Annotated[
        dict[str, Any] | None,
        typer.Option(
            parser=json_object,
            metavar="JSON",
            help="Values for the :placeholders in the expressions, as DynamoDB JSON.",
        ),
    ] = None,
    no_fingerprint: Annotated[
        bool,
        typer.Option(
            "--no-fingerprint", help="Leave out the fingerprints with which 'verify' checks the files; saves CPU."
        ),
    ] = False,
    burst: common.Burst = 0,
    max_units: common.MaxUnits = None,
    max_duration: common.MaxDuration = None,
    retry_timeout: common.RetryTimeout = RETRY_SECONDS,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the unfinished export in the destination.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the export in the destination.")] = False,
    sse: Annotated[
        Any,
        typer.Option(**one_of("AES256", "aws:kms", "aws:kms:dsse"), help="S3: server-side encryption of the objects."),
    ] = None,
    sse_kms_key_id: Annotated[str | None, named("KEY", "S3: ID or ARN of the KMS key.")] = None,
    storage_class: Annotated[str | None, named("CLASS", "S3: storage class, such as STANDARD_IA.")] = None,
    acl: Annotated[str | None, named("ACL", "S3: canned ACL, such as bucket-owner-full-control.")] = None,
    profile: common.Profile = None,
    endpoint_url: common.EndpointUrl = None,
    dynamodb_endpoint_url: common.DynamodbEndpointUrl = None,
    s3_endpoint_url: common.S3EndpointUrl = None,
    report: common.Json = False,
    quiet: common.Quiet = False,
    verbose: common.Verbose = False,
) -> int:
    """Export a table, or one of its indexes, to files of JSON lines.

    The table is read by a parallel Scan within the capacity budget. Files are named TABLE-SEGMENT-NUMBER.json, with
    .gz or .zst appended if compressed. A file appears under its final name only when it is complete.
    """
    stream = destination == STREAM

    def job(**steering: Any) -> Coroutine[Any, Any, JobReport]:
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
        return export_table(options, output=sys.stdout.buffer if stream else None, **steering)

    from ddbio.cli.run import report_moved, run_job  # noqa: PLC0415 - heavy, and not needed for help

    output = OutputOptions(report=report, quiet=quiet, verbose=verbose)
    return run_job(job, output, stream=stream, resumable=not stream, conclude=report_moved)


def _check(destination: str, s3: S3Options, *, report: bool, overwrite: bool) -> None:
    if destination == STREAM and report:
        raise UsageError("--json and -d - both write to standard output.", hint="Omit one of them.")
    if destination == STREAM and overwrite:
        raise UsageError("--overwrite can't be used with standard output.")
    if s3.parameters() and not destination.startswith("s3://"):
        raise UsageError(
            "--sse, --sse-kms-key-id, --storage-class and --acl apply to S3 only.", hint="Give an s3:// destination."
        )
