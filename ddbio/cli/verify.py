"""`ddbio verify`."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ddbio.cli import common
from ddbio.cli.common import OutputOptions, named, number
from ddbio.cli.failures import Exit, put_json
from ddbio.cli.figures import verdict
from ddbio.errors import UsageError
from ddbio.options import HALF, RETRY_SECONDS, Capacity, VerifyOptions
from ddbio.report import VerifyReport

if TYPE_CHECKING:
    from ddbio.cli.progress import QuietDisplay

EXAMPLES = """\
Examples:

\b
  Check the files of an export against its manifest:
    ddbio verify -s orders/
    ddbio verify -r eu-west-1 -s s3://backup/orders
\b
  Compare them with the table too, with at most 1,000 read units per second:
    ddbio verify -r eu-west-1 -s orders/ -t Orders -c 1000
\b
  List the items of a copy that differ; then restore them from the files:
    ddbio verify -r eu-west-1 -s orders/ -t Copy | jq .key
    ddbio verify -r eu-west-1 -s orders/ -t Copy --repair --write-capacity 100

Memory used, approximately: processes x concurrency x 20 MiB. Disk space in TMPDIR: about 200 bytes per item of the
segments being compared.
"""


def verify(
    source: Annotated[
        str, typer.Option("--source", "-s", metavar="LOCATION", help="The folder or s3://bucket/prefix of an export.")
    ],
    table: Annotated[
        str | None,
        named(
            "TABLE",
            "Compare the files with this table: the exported one or a copy. Default: check only the files.",
            "--table",
            "-t",
        ),
    ] = None,
    region: common.Region = None,
    processes: common.Processes = None,
    capacity: common.ReadCapacity = None,
    concurrency: Annotated[int, number("Segments (without --table: files) read concurrently in each process.")] = 8,
    consistent_read: common.ConsistentRead = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Write missing and different items to the table as they are in the files.")
    ] = False,
    write_capacity: Annotated[
        Capacity | None,
        typer.Option(
            "--write-capacity",
            parser=common.fixed_capacity,
            metavar="N|P%",
            help="Maximum write capacity units per second for the repair, in the form of -c. Default: 50%.",
        ),
    ] = None,
    retry_timeout: common.RetryTimeout = RETRY_SECONDS,
    profile: common.Profile = None,
    endpoint_url: common.EndpointUrl = None,
    dynamodb_endpoint_url: common.DynamodbEndpointUrl = None,
    s3_endpoint_url: common.S3EndpointUrl = None,
    report: common.Json = False,
    quiet: common.Quiet = False,
    verbose: common.Verbose = False,
) -> int:
    """Check the files of an export, and compare them with a table.

    Checks that all files in the manifest exist, that there are no others which an import would read, and that sizes,
    checksums, record counts and fingerprints agree. With --table, prints a JSON line with the key of each item that is
    "missing" from the table, "extra" in it, or "different". The exit code is 0 if everything agrees or was repaired,
    and 1 otherwise.
    """

    def job(**steering: Any) -> Coroutine[Any, Any, VerifyReport]:
        from ddbio.jobs.verify import verify_export  # noqa: PLC0415 - heavy, and not needed for help

        if table is None and (capacity or consistent_read):
            raise UsageError("--capacity and --consistent-read need a table.", hint="Name it with --table.")
        if write_capacity and not repair:
            raise UsageError("--write-capacity needs --repair.", hint="Add --repair, or omit it.")
        options = VerifyOptions(
            source=source,
            table=table,
            connection=common.connection(region, profile, endpoint_url, dynamodb_endpoint_url, s3_endpoint_url),
            capacity=capacity or HALF,
            processes=processes or common.cores(),
            concurrency=concurrency,
            consistent=consistent_read,
            repair=repair,
            write_capacity=write_capacity or HALF,
            retry_seconds=retry_timeout,
        )
        return verify_export(options, on_difference=lambda found: put_json(found.as_dict()), **steering)

    from ddbio.cli.run import run_job  # noqa: PLC0415 - heavy, and not needed for help

    output = OutputOptions(report=report, quiet=quiet, verbose=verbose)
    return run_job(job, output, stream=table is not None, resumable=False, conclude=_conclude)


def _conclude(report: VerifyReport, output: OutputOptions, display: QuietDisplay) -> Exit:
    for line in verdict(report):
        display.info(line)
    if output.report:
        put_json(report.as_dict())
    return Exit.DONE if report.clean else Exit.FAILED
