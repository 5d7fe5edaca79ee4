"""Access to S3: clients that ask a `CredentialProvider` for credentials, and the region that a bucket is in.

Importing this module does not import aioboto3: a worker that writes to a folder never needs it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from ddbio.aws.errors import explained
from ddbio.aws.sdk import configured_session, warm_up
from ddbio.errors import PreflightError
from ddbio.retry import S3_PREFLIGHT
from ddbio.wire.signing import CredentialProvider
from ddbio.wire.transport import HttpTransport

PART_CONNECTIONS = 8
"""Connections for the parts of uploads: more than are in flight at once."""
REGION = re.compile(r"[a-z0-9-]+")


class S3Facts(msgspec.Struct, frozen=True):
    """Where a bucket is; None for `endpoint` means the service's own."""

    region: str
    endpoint: str | None
    profile: str | None = None
    """Its S3 settings apply; credentials come from a `CredentialProvider`."""


@asynccontextmanager
async def s3_client(facts: S3Facts, credentials: CredentialProvider) -> AsyncIterator[Any]:
    """An aioboto3 S3 client that asks `credentials` at each request. It retries nothing: `S3Client` does."""
    from aiobotocore.config import AioConfig  # noqa: PLC0415

    from ddbio.aws.http import StraightSession  # noqa: PLC0415
    from ddbio.storage.s3.parts import send_parts_through  # noqa: PLC0415

    session, ca_bundle = await asyncio.to_thread(_open_session, facts, credentials)
    config = AioConfig(
        connect_timeout=5,
        read_timeout=60,
        max_pool_connections=64,
        retries={"mode": "standard", "total_max_attempts": 1},
        s3={"addressing_style": "path"} if facts.endpoint else None,
        user_agent_extra="ddbio",
        http_session_cls=StraightSession,
    )
    async with (
        HttpTransport(connections=PART_CONNECTIONS, ca_bundle=ca_bundle) as transport,
        session.client("s3", endpoint_url=facts.endpoint, config=config) as client,
    ):
        send_parts_through(transport, client)
        yield client


def _open_session(facts: S3Facts, credentials: CredentialProvider) -> tuple[Any, str | None]:
    import aioboto3  # noqa: PLC0415
    import aioboto3.s3.inject  # noqa: PLC0415 - else imported on the loop

    botocore = configured_session(facts.profile, credentials)
    warm_up(botocore, "s3", facts.region, facts.endpoint)
    session = aioboto3.Session(botocore_session=botocore, region_name=facts.region)
    return session, botocore.get_config_variable("ca_bundle")


async def bucket_region(bucket: str, asked: S3Facts, credentials: CredentialProvider) -> str:
    """The region that a bucket is in; `asked.region` where its endpoint names none.

    Raises `PreflightError` where there is no such bucket, or where the endpoint gives no answer.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    from ddbio.storage.s3.client import S3Client  # noqa: PLC0415

    endpoint = asked.endpoint or "S3"
    try:
        async with s3_client(asked, credentials) as client:
            reply = await S3Client(client, retries=S3_PREFLIGHT).call("head_bucket", Bucket=bucket)
    except ClientError as error:
        reply = error.response
        if reply["ResponseMetadata"]["HTTPStatusCode"] == 404:
            hint = "Check the name, or create the bucket first."
            raise PreflightError(f"There is no bucket {bucket}.", hint=hint) from error
        # A refusal or a redirection still names the region; whether writing is allowed is found out by writing.
        if "x-amz-bucket-region" not in reply["ResponseMetadata"]["HTTPHeaders"]:
            raise explained(error, f"Asking for bucket {bucket}", endpoint) from error
    except BotoCoreError as error:
        raise explained(error, f"Asking for bucket {bucket}", endpoint) from error
    except RecursionError as error:  # the SDK asks again and again for the region of a redirection without one
        hint = f"Check the endpoint: {endpoint} names no region."
        raise PreflightError(f"Asking for bucket {bucket} leads elsewhere.", hint=hint) from error
    region: str = reply["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", asked.region)
    if not REGION.fullmatch(region):
        raise PreflightError(f"Asking for bucket {bucket} names {region!r}, which is not a region.")
    return region
