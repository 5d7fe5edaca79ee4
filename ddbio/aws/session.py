"""An AWS configuration, resolved: profile, region, endpoints and credentials, and what is asked with them.

Nothing here blocks the caller's loop for long: configuration is read, models are loaded and credentials are first
looked for in a thread; what remains is about 5 ms for each client. Importing this module does not import aioboto3.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from ddbio.aws import control_plane
from ddbio.aws.credential_chain import CredentialChain
from ddbio.aws.credentials import RenewingCredentials
from ddbio.aws.errors import first_line
from ddbio.aws.s3 import REGION, S3Facts, bucket_region, s3_client
from ddbio.aws.sdk import configured_endpoint, configured_session, warm_up
from ddbio.aws.table import TableInfo
from ddbio.errors import UsageError
from ddbio.options import Connection
from ddbio.storage import S3, parse_location
from ddbio.wire.signing import CredentialProvider, Credentials


class Session:
    """An AWS configuration, resolved. An async context manager, for use on one event loop.

    Entering raises `UsageError` where the profile or the region is missing or makes no sense.
    """

    def __init__(self, connection: Connection | None = None) -> None:
        self._connection = connection or Connection()
        self._credentials = RenewingCredentials(self._fetch)
        self._chain: CredentialChain | None = None
        self._aioboto3: Any = None
        self._stack = AsyncExitStack()
        self._control_plane: Any = None
        self._bucket_regions: dict[str, str] = {}
        self.region = ""
        self.dynamodb_endpoint = ""
        """The URL of DynamoDB: the option, `AWS_ENDPOINT_URL_DYNAMODB`, the profile's, or the region's own."""
        self.s3_endpoint: str | None = None
        """The URL of an S3 of one's own, from the same places; None for AWS."""
        self.ca_bundle: str | None = None

    async def __aenter__(self) -> Session:
        await asyncio.to_thread(self._open)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()
        self._chain = self._aioboto3 = self._control_plane = None

    def _open(self) -> None:
        import aioboto3  # noqa: PLC0415 - half a second, for the first process only
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415

        options = self._connection
        try:
            botocore = configured_session(options.profile, self._credentials)
            self.region = _region(options.region, botocore)
            self._aioboto3 = aioboto3.Session(botocore_session=botocore, region_name=self.region)
            given = options.dynamodb_endpoint_url or options.endpoint_url
            self.dynamodb_endpoint = warm_up(botocore, "dynamodb", self.region, given)
            self.s3_endpoint = options.s3_endpoint_url or options.endpoint_url or configured_endpoint(botocore, "s3")
            self.ca_bundle = botocore.get_config_variable("ca_bundle")
        except (BotoCoreError, ValueError) as error:
            raise UsageError(
                f"The AWS configuration can't be used: {first_line(error)}",
                hint="Check --profile, --region and the endpoint URLs, or the variables and files that stand for them.",
            ) from error

    async def credentials(self) -> Credentials:
        """Credentials that hold now. Raises `PreflightError` where there are none or they are refused,
        `CredentialsUnavailableError` where their provider did not answer four times.
        """
        return await self._credentials.get()

    def credential_provider(self) -> CredentialProvider:
        return self._credentials

    async def _fetch(self, reload: bool) -> Credentials:
        if self._chain is None:
            self._chain = CredentialChain(self._connection.profile, self.region)
        return await self._chain.fetch(reload)

    def dynamodb_client(self) -> AbstractAsyncContextManager[Any]:
        return control_plane.dynamodb_client(self._aioboto3, self.dynamodb_endpoint)

    async def describe_table(self, table: str, index: str | None = None) -> TableInfo:
        """What the service says about a table (and index), which is named by its name or its ARN.

        Raises `PreflightError`, or `UsageError` for an impossible name and an ARN of another region.
        """
        if self._control_plane is None:  # kept: its first request loads the trusted certificates, on the loop
            self._control_plane = await self._stack.enter_async_context(self.dynamodb_client())
        return await control_plane.describe_table(
            self._control_plane, table, index, region=self.region, endpoint=self.dynamodb_endpoint
        )

    def s3_client(self) -> AbstractAsyncContextManager[Any]:
        return s3_client(self._s3_in(self.region), self._credentials)

    async def s3_facts(self, location: str) -> S3Facts | None:
        """Where the bucket of this location is; None where the location is not in S3. Raises `PreflightError`."""
        parsed = parse_location(location)
        return self._s3_in(await self.bucket_region(parsed.bucket)) if isinstance(parsed, S3) else None

    async def bucket_region(self, bucket: str) -> str:
        if bucket not in self._bucket_regions:
            self._bucket_regions[bucket] = await bucket_region(bucket, self._s3_in(self.region), self._credentials)
        return self._bucket_regions[bucket]

    def _s3_in(self, region: str) -> S3Facts:
        return S3Facts(region, self.s3_endpoint, self._connection.profile)


def _region(given: str | None, botocore: Any) -> str:
    # botocore by itself reads AWS_DEFAULT_REGION only.
    region = given or os.environ.get("AWS_REGION") or botocore.get_config_variable("region")
    if not region:
        hint = "Give --region, or set AWS_REGION, or a region in the profile."
        raise UsageError("No AWS region is known.", hint=hint)
    if not REGION.fullmatch(region):
        raise UsageError(f"{region!r} is not a region.", hint="Regions look like eu-west-1.")
    return str(region)
