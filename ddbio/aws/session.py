"""The AWS side that is not hot, through aioboto3: profile, region, endpoints, credentials, control-plane calls.

Nothing here blocks the caller's loop for long: configuration is read, models are loaded and credentials first found
in a thread; what remains is about 5 ms for each client. Importing this module does not import aioboto3.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from ddbio.aws.credentials import RenewingCredentials
from ddbio.aws.table import TableInfo, refuse_other_region
from ddbio.errors import CredentialsUnavailableError, DdbioError, PreflightError, UsageError
from ddbio.options import Connection
from ddbio.wire.signing import CredentialProvider, Credentials
from ddbio.wire.transport import HttpTransport

METADATA_SECONDS = 5
METADATA_ATTEMPTS = 4
"""A starved loop or a busy link-local network makes botocore's one try of 1 s fail on a healthy instance."""
MAX_MESSAGE = 300
PART_CONNECTIONS = 8
"""To S3, for parts: more than are on their way at once."""
_REGION = re.compile(r"[a-z0-9-]+")
_NO_DESCRIPTION = (LookupError, TypeError, ValueError, AttributeError, RecursionError)
"""What botocore and `TableInfo.parse` raise for a reply that has members missing, or of other types. (A `DdbioError` is
none of these.)"""
_REFUSED_CREDENTIALS = {
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "InvalidClientTokenId",
    "ExpiredTokenException",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "RequestTimeTooSkewed",
    "MissingAuthenticationTokenException",
    "IncompleteSignatureException",
}


class Session:
    """An AWS configuration, resolved. An async context manager, for use on one event loop.

    Entering raises `UsageError` where the profile or the region is missing or makes no sense.
    """

    def __init__(self, connection: Connection | None = None) -> None:
        self._connection = connection or Connection()
        self._credentials = RenewingCredentials(self._fetch)
        self._provider: Any = None
        self._aioboto3: Any = None
        self._stack = AsyncExitStack()
        self._control_plane: Any = None
        self.region = ""
        """The region of the table."""
        self.dynamodb_endpoint = ""
        """The URL of DynamoDB: the option, `AWS_ENDPOINT_URL_DYNAMODB`, the profile's, or the region's own."""
        self.s3_endpoint: str | None = None
        """The URL of an S3 of one's own, from the same places; None for AWS."""
        self.ca_bundle: str | None = None
        """A file of trusted certificates, from `AWS_CA_BUNDLE` or the profile."""

    async def __aenter__(self) -> Session:
        await asyncio.to_thread(self._open)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()
        self._provider = self._aioboto3 = self._control_plane = None

    def _open(self) -> None:
        import aioboto3  # noqa: PLC0415 - half a second, for the parent only
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415

        options = self._connection
        try:
            botocore = _botocore_session(options.profile, self._credentials)
            self.region = _region(options.region, botocore)
            self._aioboto3 = aioboto3.Session(botocore_session=botocore, region_name=self.region)
            given = options.dynamodb_endpoint_url or options.endpoint_url
            self.dynamodb_endpoint = _warm(botocore, "dynamodb", self.region, given)
            self.s3_endpoint = options.s3_endpoint_url or options.endpoint_url or _configured_endpoint(botocore, "s3")
            self.ca_bundle = botocore.get_config_variable("ca_bundle")
        except (BotoCoreError, ValueError) as error:
            raise UsageError(
                f"The AWS configuration can't be used: {_line(error)}",
                hint="Check --profile, --region and the endpoint URLs, or the variables and files that stand for them.",
            ) from error

    async def credentials(self) -> Credentials:
        """Credentials that hold now. Raises `PreflightError` where there are none, or where their provider refuses,
        `CredentialsUnavailableError` where it did not answer four times.
        """
        return await self._credentials.get()

    def credential_provider(self) -> CredentialProvider:
        """The same credentials, as what signs requests wants them."""
        return self._credentials

    async def _fetch(self, reload: bool) -> Credentials:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        try:
            if self._provider is None or reload:
                self._provider = await _find_credentials(
                    self._connection.profile, self.region, patient=self._provider is not None
                )
            frozen = await self._provider.get_frozen_credentials()
        except (BotoCoreError, ClientError, RuntimeError, OSError, ValueError) as error:
            raise _credentials_error(error) from error
        # botocore has no public name for the expiry.
        expiry = getattr(self._provider, "_expiry_time", None)
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token, expiry and expiry.timestamp())

    def dynamodb_client(self) -> AbstractAsyncContextManager[Any]:
        """An aioboto3 client for DynamoDB's control plane."""
        from aiobotocore.config import AioConfig  # noqa: PLC0415

        from ddbio.aws.http import StraightSession  # noqa: PLC0415

        config = AioConfig(
            connect_timeout=5,
            read_timeout=20,
            retries={"mode": "standard", "total_max_attempts": 3},
            http_session_cls=StraightSession,
        )
        client: AbstractAsyncContextManager[Any] = self._aioboto3.client(
            "dynamodb", endpoint_url=self.dynamodb_endpoint, config=config
        )
        return client

    def s3_client(self, region: str | None = None) -> AbstractAsyncContextManager[Any]:
        """An aioboto3 client for S3 in `region` (default: the table's)."""
        return s3_client(
            region=region or self.region,
            endpoint_url=self.s3_endpoint,
            credentials=self._credentials,
            profile=self._connection.profile,
        )

    async def describe_table(self, table: str, index: str | None = None) -> TableInfo:
        """What the service says of a table (and index), which is named by its name or its ARN.

        Raises `PreflightError`, or `UsageError` for an impossible name and an ARN of another region.
        """
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        refuse_other_region(table, self.region)
        try:
            if self._control_plane is None:  # kept: its first request loads the trusted certificates, on the loop
                self._control_plane = await self._stack.enter_async_context(self.dynamodb_client())
            reply = await self._control_plane.describe_table(TableName=table)
            found = TableInfo.parse(reply["Table"], index)
        except (BotoCoreError, ClientError) as error:
            if _code(error) == "ResourceNotFoundException":
                raise self._no_such_table(table) from error
            raise _explained(error, f"Describing table {table} in {self.region}", self.dynamodb_endpoint) from error
        except _NO_DESCRIPTION as error:
            raise PreflightError(
                f"{self.dynamodb_endpoint} answers with something else than the description of table {table}.",
                hint="Check the endpoint, and look for a proxy or a login page that answers in its place.",
            ) from error
        if table not in (found.name, found.arn):
            # By its bare name, another account's table would be taken for our own table of that name.
            raise PreflightError(
                f"{table} was asked for, and {self.dynamodb_endpoint} describes {found.arn}.",
                hint="Name the table exactly as the service does, or by its ARN.",
            )
        return found

    def _no_such_table(self, table: str) -> PreflightError:
        return PreflightError(
            f"There is no table {table} in {self.region} ({self.dynamodb_endpoint}) for these credentials.",
            hint="Check the name, the account (--profile) and the region (--region).",
        )

    async def bucket_region(self, bucket: str) -> str:
        """The region that a bucket lives in; raises `PreflightError` where it is missing or can't be asked about."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        try:
            async with self.s3_client() as client:
                reply = await client.head_bucket(Bucket=bucket)
        except ClientError as error:
            reply = error.response
            status = reply["ResponseMetadata"]["HTTPStatusCode"]
            if status == 404:
                hint = "Check the name, or make the bucket first."
                raise PreflightError(f"There is no bucket {bucket}.", hint=hint) from error
            # A refusal or a redirection still names the region; whether writing is allowed is found out by writing.
            if "x-amz-bucket-region" not in reply["ResponseMetadata"]["HTTPHeaders"]:
                where = self.s3_endpoint or "S3"
                raise _explained(error, f"Asking for bucket {bucket}", where) from error
        except BotoCoreError as error:
            raise _explained(error, f"Asking for bucket {bucket}", self.s3_endpoint or "S3") from error
        except RecursionError as error:  # the SDK asks again and again for the region of a redirection without one
            hint = f"Check the endpoint: {self.s3_endpoint or 'S3'} names no region."
            raise PreflightError(f"Asking for bucket {bucket} leads elsewhere.", hint=hint) from error
        region: str = reply["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", self.region)
        if not _REGION.fullmatch(region):
            raise PreflightError(f"Asking for bucket {bucket} names {region!r}, which is not a region.")
        return region


@asynccontextmanager
async def s3_client(
    *, region: str, endpoint_url: str | None, credentials: CredentialProvider, profile: str | None = None
) -> AsyncIterator[Any]:
    """An aioboto3 S3 client that takes its credentials from `credentials`, request by request.

    With an `endpoint_url`, buckets are addressed by path. `profile` only adds S3 settings from the AWS configuration.
    """
    session, ca_bundle = await asyncio.to_thread(_s3_session, region, endpoint_url, credentials, profile)
    from aiobotocore.config import AioConfig  # noqa: PLC0415

    from ddbio.aws.http import StraightSession  # noqa: PLC0415
    from ddbio.storage.s3.parts import send_parts_through  # noqa: PLC0415

    config = AioConfig(
        connect_timeout=5,
        read_timeout=60,
        max_pool_connections=64,
        retries={"mode": "standard", "total_max_attempts": 8},
        s3={"addressing_style": "path"} if endpoint_url else None,
        user_agent_extra="ddbio",
        http_session_cls=StraightSession,
    )
    async with (
        HttpTransport(connections=PART_CONNECTIONS, ca_bundle=ca_bundle) as transport,
        session.client("s3", endpoint_url=endpoint_url, config=config) as client,
    ):
        send_parts_through(transport, client)
        yield client


def _s3_session(
    region: str, endpoint_url: str | None, credentials: CredentialProvider, profile: str | None
) -> tuple[Any, str | None]:
    import aioboto3  # noqa: PLC0415
    import aioboto3.s3.inject  # noqa: PLC0415 - else imported on the loop

    botocore = _botocore_session(profile, credentials)
    _warm(botocore, "s3", region, endpoint_url)
    session = aioboto3.Session(botocore_session=botocore, region_name=region)
    return session, botocore.get_config_variable("ca_bundle")


def _botocore_session(profile: str | None, credentials: CredentialProvider | None = None) -> Any:
    from aiobotocore.session import AioSession  # noqa: PLC0415

    session = AioSession(profile=profile)
    if credentials is not None:
        session.register_component("credential_provider", _Provider(credentials))
    return session


def _region(given: str | None, botocore: Any) -> str:
    # botocore by itself reads AWS_DEFAULT_REGION only.
    region = given or os.environ.get("AWS_REGION") or botocore.get_config_variable("region")
    if not region:
        raise UsageError(
            "No AWS region is known.", hint="Give --region, or set AWS_REGION, or a region in the profile."
        )
    if not _REGION.fullmatch(region):
        raise UsageError(f"{region!r} is not a region.", hint="Regions look like eu-west-1.")
    return str(region)


def _warm(aio: Any, service: str, region: str, endpoint_url: str | None) -> str:
    """Load a service's models (0.2 s at first) by making a blocking twin of its client; return the client's endpoint.

    Meant for a thread: the models stay in the loader that both sessions share.
    """
    from botocore.session import Session as Blocking  # noqa: PLC0415

    twin = Blocking(profile=aio.get_config_variable("profile"))
    twin.register_component("data_loader", aio.get_component("data_loader"))
    keys = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
    client = twin.create_client(service, region, endpoint_url=endpoint_url, **keys)
    return str(client.meta.endpoint_url)


def _configured_endpoint(botocore: Any, service: str) -> str | None:
    from botocore.configprovider import ConfiguredEndpointProvider  # noqa: PLC0415

    if botocore.get_config_variable("ignore_configured_endpoint_urls"):
        return None
    provider = ConfiguredEndpointProvider(botocore.full_config, botocore.get_scoped_config(), service)
    url: str | None = provider.provide()
    return url


async def _find_credentials(profile: str | None, region: str, *, patient: bool) -> Any:
    """The first provider of botocore's chain that has credentials; `patient` with an instance's metadata service.

    Raises botocore's errors; where there are no credentials, `PreflightError`, or, if `patient`, what is tried again.
    """
    session = _botocore_session(profile)
    session.set_config_variable("region", region)
    if patient:
        _raise_to(session, "metadata_service_timeout", METADATA_SECONDS)
        _raise_to(session, "metadata_service_num_attempts", METADATA_ATTEMPTS)
    found = await _in_thread(session.get_credentials)
    if found is None and patient:
        raise CredentialsUnavailableError("The AWS configuration holds no credentials any more.")
    if found is None:
        raise PreflightError(
            "No AWS credentials were found.",
            hint="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile with --profile, or log in.",
        )
    if found.method == "iam-role" and not patient:
        # Not before: where there is no instance, patience would hold up the message that there are no credentials.
        return await _find_credentials(profile, region, patient=True)
    await _in_thread(found.get_frozen_credentials)
    return found


async def _in_thread(call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine of botocore's on a loop of its own: at first use it reads files and loads models.

    The coroutine is made in the thread: whoever is cancelled while all threads are busy leaves none behind.
    """
    return await asyncio.to_thread(lambda: asyncio.run(call()))


def _raise_to(session: Any, variable: str, least: int) -> None:
    session.set_config_variable(variable, max(int(session.get_config_variable(variable)), least))


def _credentials_error(error: Exception) -> DdbioError:
    from botocore import exceptions as known  # noqa: PLC0415

    passing = (
        known.CredentialRetrievalError,
        known.MetadataRetrievalError,
        known.HTTPClientError,
        known.ConnectionError,
        RuntimeError,
        OSError,
    )
    refused = isinstance(error, known.ClientError) and error.response["ResponseMetadata"]["HTTPStatusCode"] < 500
    message = f"AWS credentials could not be had: {_line(error)}"
    if isinstance(error, passing) and not refused:
        return CredentialsUnavailableError(message)
    return PreflightError(message, hint="Check --profile and the AWS configuration, or log in again.")


def _explained(error: Exception, doing: str, where: str) -> DdbioError:
    """What a failed control-plane call means to a person."""
    from botocore import exceptions as known  # noqa: PLC0415

    code = _code(error)
    if isinstance(error, known.ParamValidationError):
        return UsageError(f"{doing} is not possible: {_line(error)}")
    if isinstance(error, known.SSLError):
        hint = "If a proxy or an endpoint of your own is in the way, name its certificates with AWS_CA_BUNDLE."
    elif isinstance(error, (known.HTTPClientError, known.ConnectionError)):
        hint = f"Check the network, the proxy, the region and the endpoint: {where} can't be reached."
    elif code in _REFUSED_CREDENTIALS:
        hint = "Check the keys or the profile, the endpoint, and that this machine's clock is right."
    elif code in ("AccessDeniedException", "AccessDenied", "403"):
        hint = "Allow the action to this user or role, or use another profile."
    else:
        hint = None
    return PreflightError(f"{doing} failed: {_line(error)}", hint=hint)


def _code(error: Exception) -> str:
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _line(error: Exception) -> str:
    """The first line of a message: what follows it in a signature error is the request, session token included."""
    return str(error).partition("\n")[0][:MAX_MESSAGE]


class _Provider:
    """Takes the place of botocore's credential chain."""

    def __init__(self, source: CredentialProvider) -> None:
        self._source = source

    async def load_credentials(self) -> _BotocoreCredentials:
        """What clients keep and ask before each request."""
        return _BotocoreCredentials(self._source)


class _BotocoreCredentials:
    """A `CredentialProvider`, as botocore's signers see it."""

    method = "ddbio"

    def __init__(self, source: CredentialProvider) -> None:
        self._source = source

    async def get_frozen_credentials(self) -> Any:
        """What one request is signed with."""
        from botocore.credentials import ReadOnlyCredentials  # noqa: PLC0415

        credentials = await self._source.get()
        return ReadOnlyCredentials(credentials.access_key, credentials.secret_key, credentials.token, None)

    async def get_account_id(self) -> None:
        """Unknown, so that endpoints stay the region's own."""

    def get_deferred_property(self, _name: str) -> Callable[[], Awaitable[None]]:
        """The same, as botocore's endpoint rules ask for it."""
        return self.get_account_id
