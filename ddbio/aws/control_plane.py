"""DescribeTable, and what its failures mean."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

from ddbio.aws.errors import code_of, explained
from ddbio.aws.table import TableInfo, refuse_other_region
from ddbio.errors import PreflightError

_UNREADABLE = (LookupError, TypeError, ValueError, AttributeError, RecursionError)
"""What botocore and `TableInfo.parse` raise for a reply that lacks members, or has some of other types. (No
`DdbioError` is one of these.)"""


def dynamodb_client(session: Any, endpoint_url: str) -> AbstractAsyncContextManager[Any]:
    from aiobotocore.config import AioConfig  # noqa: PLC0415

    from ddbio.aws.http import StraightSession  # noqa: PLC0415

    retries = {"mode": "standard", "total_max_attempts": 3}
    config = AioConfig(connect_timeout=5, read_timeout=20, retries=retries, http_session_cls=StraightSession)
    return session.client("dynamodb", endpoint_url=endpoint_url, config=config)  # type: ignore[no-any-return]


async def describe_table(client: Any, table: str, index: str | None, *, region: str, endpoint: str) -> TableInfo:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    refuse_other_region(table, region)
    try:
        reply = await client.describe_table(TableName=table)
        found = TableInfo.parse(reply["Table"], index)
    except (BotoCoreError, ClientError) as error:
        if code_of(error) == "ResourceNotFoundException":
            raise PreflightError(
                f"There is no table {table} in {region} ({endpoint}) for these credentials.",
                hint="Check the name, the account (--profile) and the region (--region).",
            ) from error
        raise explained(error, f"Describing table {table} in {region}", endpoint) from error
    except _UNREADABLE as error:
        raise PreflightError(
            f"The reply of {endpoint} is not a description of table {table}.",
            hint="Check the endpoint, and look for a proxy or a login page that answers in its place.",
        ) from error
    if table not in (found.name, found.arn):
        # By its bare name, another account's table would be taken for our own table of that name.
        raise PreflightError(
            f"{table} was asked for, and {endpoint} describes {found.arn}.",
            hint="Name the table exactly as the service does, or by its ARN.",
        )
    return found
