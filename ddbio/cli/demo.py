"""`ddbio demo`."""

from __future__ import annotations

from typing import Annotated

from ddbio.cli import common
from ddbio.cli.common import number

EXAMPLES = """\
Examples:

\b
  ddbio demo
  ddbio demo --items 500
"""


def demo(
    items: Annotated[int, number("Number of items to move.", most=100_000)] = 1_000, verbose: common.Verbose = False
) -> int:
    """Demonstrate export and import without an AWS account.

    Starts emulators of DynamoDB and S3 on this computer, creates tables and a bucket, moves items out and in, compares
    the tables item by item, and cleans up. Needs the extra "demo", or: pip install 'moto[server]'.
    """
    from ddbio.cli.tour import show  # noqa: PLC0415 - heavy, and not needed for help

    return show(items, verbose=verbose)
