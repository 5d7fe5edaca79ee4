"""The AWS configuration, credentials and control plane, through aioboto3 and against real servers."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError, ConnectTimeoutError, SSLError

from ddbio import errors
from ddbio.aws.http import StraightSession
from ddbio.aws.s3 import S3Facts, s3_client
from ddbio.aws.session import Session
from ddbio.aws.table import KeyElement
from ddbio.options import Connection
from ddbio.storage.s3.errors import translated_errors
from ddbio.wire.signing import Credentials, StaticCredentials
from tests.kit.credentials import FakeCredentials
from tests.kit.servers import http
from tests.kit.servers.aws import ACCESS_KEY, SECRET_KEY, Server
from tests.kit.servers.certificate import write_certificate
from tests.kit.servers.raw import listening, say_nothing, tunnels

Configure = Callable[[str], None]
REGION = "eu-west-1"
HERE = Connection(region=REGION)


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Write the AWS configuration file, and take the credentials out of the environment."""
    path = tmp_path / "aws-config"
    path.touch()
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)

    def write(text: str) -> None:
        path.write_text(text)

    return write


def to(server: Server) -> Connection:
    return Connection(region=server.region, endpoint_url=server.url)


# Region and endpoints


async def test_the_region_comes_from_option_environment_or_profile(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure("[default]\nregion = ap-south-1\n[profile other]\nregion = sa-east-1\n")
    found = []
    for connection in (HERE, Connection(), Connection(profile="other")):
        async with Session(connection) as session:
            found.append(session.region)
    for name, region in (("AWS_DEFAULT_REGION", "us-west-1"), ("AWS_REGION", "us-west-2")):
        monkeypatch.setenv(name, region)
        async with Session() as session:
            found.append(session.region)
    assert found == ["eu-west-1", "ap-south-1", "sa-east-1", "us-west-1", "us-west-2"]


@pytest.mark.parametrize(
    ("connection", "message"),
    [
        (Connection(), "No AWS region is known. Give --region, or set AWS_REGION"),
        (Connection(region="Frankfurt am Main"), "'Frankfurt am Main' is not a region."),
        (Connection(region=REGION, profile="nobody"), r"profile \(nobody\) could not be found.* Check --profile"),
        (Connection(region=REGION, endpoint_url="what"), "Invalid endpoint: what.* endpoint URLs"),
    ],
)
async def test_a_configuration_that_makes_no_sense_is_wrong_usage(connection: Connection, message: str) -> None:
    with pytest.raises(errors.UsageError, match=message):
        await Session(connection).__aenter__()


async def test_without_an_endpoint_the_regions_own_is_used() -> None:
    async with Session(HERE) as session:
        assert session.dynamodb_endpoint == "https://dynamodb.eu-west-1.amazonaws.com"
        assert session.s3_endpoint is None


async def test_the_more_special_endpoint_wins(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    async def endpoints(**urls: str) -> tuple[str, str | None]:
        async with Session(Connection(region=REGION, **urls)) as session:
            return session.dynamodb_endpoint, session.s3_endpoint

    configure(
        "[default]\nservices = mine\nendpoint_url = http://profile:1\n[services mine]\ns3 =\n  endpoint_url = http://mine:1\n"
    )
    assert await endpoints() == ("http://profile:1", "http://mine:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://env:1")
    assert await endpoints() == ("http://env:1", "http://env:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://env:2")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://env:3")
    assert await endpoints() == ("http://env:2", "http://env:3")
    assert await endpoints(endpoint_url="http://option:1") == ("http://option:1", "http://option:1")
    assert await endpoints(
        endpoint_url="http://option:1",
        dynamodb_endpoint_url="http://option:2",
        s3_endpoint_url="http://option:3",
    ) == ("http://option:2", "http://option:3")
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    assert await endpoints() == ("https://dynamodb.eu-west-1.amazonaws.com", None)


async def test_the_trusted_certificates_come_from_the_profile_too(configure: Configure) -> None:
    configure("[default]\nca_bundle = /somewhere/bundle.pem\n")
    async with Session(HERE) as session:
        assert session.ca_bundle == "/somewhere/bundle.pem"


# Credentials


async def test_credentials_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-token")
    async with Session(HERE) as session:
        assert await session.credentials() == Credentials(ACCESS_KEY, SECRET_KEY, "a-token")
        assert await session.credential_provider().get() == await session.credentials()


async def test_cancelled_before_a_thread_was_free() -> None:
    """A coroutine that nobody awaits is a warning, and so an error, once it is collected."""
    began, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        began.set()
        go_on.wait()

    loop = asyncio.get_running_loop()
    async with Session(HERE) as session:
        loop.set_default_executor(ThreadPoolExecutor(1))
        held = loop.run_in_executor(None, hold)
        while not began.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0)
        looking = asyncio.create_task(session.credentials())
        for _ in range(10):
            await asyncio.sleep(0)
        looking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await looking
        go_on.set()
        await held
    gc.collect()


async def test_no_credentials_at_all(configure: Configure) -> None:
    async with Session(HERE) as session:
        with pytest.raises(errors.PreflightError, match=r"No AWS credentials were found\. Set AWS_ACCESS_KEY_ID"):
            await session.credentials()


async def test_half_credentials_are_told(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    async with Session(HERE) as session:
        with pytest.raises(errors.PreflightError, match=r"Partial credentials.* Check --profile"):
            await session.credentials()


def process_profile(configure: Configure, path: Path) -> None:
    reader = f"{sys.executable} -S -c 'print(open(\"{path}\").read())'"
    configure(f"[default]\ncredential_process = {reader}\n")


def temporary(name: str, expiry: datetime) -> str:
    return json.dumps(
        {
            "Version": 1,
            "AccessKeyId": name,
            "SecretAccessKey": "secret",
            "SessionToken": "token",
            "Expiration": expiry.isoformat(),
        }
    )


async def test_process_credentials_expire_and_are_renewed(configure: Configure, tmp_path: Path) -> None:
    path, expiry = tmp_path / "keys.json", datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    path.write_text(temporary("FIRST", expiry))
    process_profile(configure, path)
    async with Session(HERE) as session:
        first = await session.credentials()
        assert first == Credentials("FIRST", "secret", "token", expiry.timestamp())
        path.write_text(temporary("SECOND", expiry))
        assert await session.credentials() == first
        second = await session.credential_provider().renew(first)
        assert second.access_key == "SECOND"
        assert await session.credentials() == second


class Metadata:
    """An instance metadata service that fails as often as it is told to, once credentials were given out."""

    def __init__(self) -> None:
        self.failures = 0
        self.names = iter(["FIRST", "SECOND", "THIRD", "FOURTH", "FIFTH"])

    async def __call__(self, request: http.Request) -> http.Reply:
        if request.path.endswith("/api/token"):
            return http.Reply((b"token",), content_type="text/plain")
        if request.path.endswith("/security-credentials/"):
            return http.Reply((b"role",), content_type="text/plain")
        if self.failures:
            self.failures -= 1
            return http.Reply((b"",), status=500)
        expiry = (datetime.now(UTC) + timedelta(hours=6)).strftime("%Y-%m-%dT%H:%M:%SZ")
        keys = {"AccessKeyId": next(self.names), "SecretAccessKey": "s", "Token": "t", "Expiration": expiry}
        return http.Reply((json.dumps({"Code": "Success", **keys}).encode(),))


async def test_an_instance_role_survives_metadata_service_hiccups(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = Metadata()
    server = http.HttpServer(metadata)
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{await server.start()}")
    try:
        async with Session(HERE) as session:
            first = await session.credentials()
            assert first.expiry is not None
            metadata.failures = 3
            assert (await session.credential_provider().renew(first)).access_key != first.access_key
    finally:
        await server.stop()


# The control plane


async def test_a_table_is_described(dynamodb: Server) -> None:
    index = {
        "IndexName": "by-size",
        "KeySchema": [{"AttributeName": "size", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
        "ProvisionedThroughput": {"ReadCapacityUnits": 7, "WriteCapacityUnits": 8},
    }
    sizes = {"AttributeName": "size", "AttributeType": "N"}
    name = dynamodb.create_table(capacity=(20, 30), AttributeDefinitions=[sizes], GlobalSecondaryIndexes=[index])
    async with Session(to(dynamodb)) as session:
        table = await session.describe_table(name)
        assert (table.name, table.region, table.status) == (name, dynamodb.region, "ACTIVE")
        assert re.fullmatch(r"\d{12}", table.account)
        assert bool(table.table_id) == (dynamodb.name != "moto")
        assert table.key_schema == (KeyElement("pk", "S", "HASH"), KeyElement("sk", "N", "RANGE"))
        assert (table.billing, table.read_capacity, table.write_capacity) == ("provisioned", 20, 30)
        assert [(key.name, key.required) for key in table.keys] == [("pk", True), ("sk", True), ("size", False)]
        indexed = await session.describe_table(name, "by-size")
        assert (indexed.indexes, indexed.index) == (("by-size",), "by-size")
        assert (indexed.read_capacity, indexed.write_capacity) == (7, 8)
        with pytest.raises(errors.PreflightError, match=r"no index nothing\. It has by-size\."):
            await session.describe_table(name, "nothing")


async def test_a_table_is_described_again_by_the_same_client(dynamodb: Server) -> None:
    class Counting(Session):
        clients = 0

        def dynamodb_client(self) -> AbstractAsyncContextManager[Any]:
            self.clients += 1
            return super().dynamodb_client()

    name = dynamodb.create_table()
    counting = Counting(to(dynamodb))
    async with counting as session:
        for _ in range(3):
            assert (await session.describe_table(name)).name == name
    assert counting.clients == 1


async def test_an_on_demand_table_is_described(dynamodb: Server) -> None:
    name = dynamodb.create_table()
    async with Session(to(dynamodb)) as session:
        assert (await session.describe_table(name)).billing == "on-demand"


async def test_a_missing_table_is_named_with_the_place_looked_at(dynamodb: Server) -> None:
    async with Session(to(dynamodb)) as session:
        with pytest.raises(
            errors.PreflightError,
            match=rf"no table missing in {dynamodb.region} \({dynamodb.url}\).*--profile.*--region",
        ):
            await session.describe_table("missing")


async def test_an_impossible_table_name_is_wrong_usage() -> None:
    async with Session(HERE) as session:
        with pytest.raises(errors.UsageError, match="Parameter validation failed"):
            await session.describe_table("")


def description(**members: object) -> dict[str, object]:
    table: dict[str, object] = {
        "TableName": "T",
        "TableArn": f"arn:aws:dynamodb:{REGION}:123456789012:table/T",
        "TableStatus": "ACTIVE",
        "AttributeDefinitions": [{"AttributeName": "a", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}],
    }
    return table | members


async def describe_with(status: int, body: bytes) -> errors.DdbioError:
    async def refuse(request: http.Request) -> http.Reply:
        return http.Reply((body,), status=status)

    server = http.HttpServer(refuse)
    url = f"http://127.0.0.1:{await server.start()}"
    try:
        async with Session(Connection(region=REGION, endpoint_url=url)) as session:
            with pytest.raises(errors.DdbioError) as caught:
                await session.describe_table("T")
    finally:
        await server.stop()
    return caught.value


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("UnrecognizedClientException", "Check the keys or the profile"),
        ("InvalidSignatureException", "this machine's clock"),
        ("AccessDeniedException", "Allow the action"),
    ],
)
async def test_refusals_say_what_to_do_and_nothing_secret(code: str, hint: str) -> None:
    body = {"__type": f"x#{code}", "message": "No.\ntoken:very-secret"}
    error = await describe_with(400, json.dumps(body).encode())
    assert isinstance(error, errors.PreflightError)
    assert code in error.message
    assert "Describing table T in eu-west-1 failed" in error.message
    assert hint in str(error)
    assert "very-secret" not in str(error)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Log in</html>",
        b"{}",
        b"[]",
        b'{"Table":{"TableName":"T"}}',
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        json.dumps({"Table": description(TableArn="arn:aws")}).encode(),
        json.dumps({"Table": description(AttributeDefinitions=[])}).encode(),
        json.dumps(
            {"Table": description(AttributeDefinitions=[{"AttributeName": "a", "AttributeType": "M"}])}
        ).encode(),
        json.dumps({"Table": description(KeySchema=[])}).encode(),
        json.dumps({"Table": description(KeySchema=[{"AttributeName": "a", "KeyType": "RANGE"}])}).encode(),
        json.dumps({"Table": description(ItemCount="many")}).encode(),
    ],
)
async def test_an_answer_that_describes_no_table_names_the_endpoint(body: bytes) -> None:
    error = await describe_with(200, body)
    assert isinstance(error, errors.PreflightError)
    assert "is not a description of table T" in error.message
    assert "proxy" in str(error)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_nothing_goes_where_a_redirection_leads(status: int) -> None:
    seen: list[str] = []

    async def lead(request: http.Request) -> http.Reply:
        seen.append(request.path)
        return http.Reply((), status=status, fields=(("Location", f"{elsewhere}/stolen"),))

    server = http.HttpServer(lead)
    port = await server.start()
    url, elsewhere = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
    try:
        async with Session(Connection(region=REGION, endpoint_url=url)) as session:
            with pytest.raises(errors.PreflightError, match=str(status)):
                await session.describe_table("T")
            with pytest.raises(errors.PreflightError, match="Asking for bucket bucket"):
                await session.bucket_region("bucket")
            async with session.s3_client() as client:
                with pytest.raises(errors.DestinationError), translated_errors("read", errors.DestinationError):
                    await client.get_object(Bucket="bucket", Key="key")
                with pytest.raises(errors.DestinationError), translated_errors("write", errors.DestinationError):
                    await client.put_object(Bucket="bucket", Key="key", Body=b"body")
    finally:
        await server.stop()
    assert set(seen) <= {"/", "/bucket", "/bucket/key"}


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")


async def test_who_answers_behind_a_proxy_is_verified(tmp_path: Path) -> None:
    write_certificate(certificate := tmp_path / "server.pem")
    async with listening(answer, certificate) as port, tunnels(port) as proxy:
        request = AWSRequest("GET", f"https://127.0.0.1:{port}/").prepare()
        async with StraightSession(proxies={"https": proxy}) as session:
            with pytest.raises(SSLError, match="self-signed certificate"):
                await session.send(request)
        async with StraightSession(str(certificate), proxies={"https": proxy}) as session:
            assert (await session.send(request)).status_code == 200


async def test_a_trusted_certificate_of_another_host_is_refused(tmp_path: Path) -> None:
    write_certificate(certificate := tmp_path / "server.pem")
    async with listening(answer, certificate) as port, tunnels(port) as proxy:
        request = AWSRequest("GET", f"https://localhost:{port}/").prepare()
        for proxies in ({}, {"https": proxy}):
            async with StraightSession(str(certificate), proxies=proxies) as session:
                with pytest.raises(SSLError, match="Hostname mismatch"):
                    await session.send(request)


async def test_the_sdk_does_not_wait_for_ever_for_a_tunnel() -> None:
    request = AWSRequest("GET", "https://s3.invalid/").prepare()
    async with listening(say_nothing) as port:
        proxies = {"https": f"http://127.0.0.1:{port}"}
        async with StraightSession(proxies=proxies, timeout=(5, 0.3)) as session:
            with pytest.raises(ConnectTimeoutError):
                async with asyncio.timeout(60):
                    await session.send(request)


async def test_nobody_there_is_told_with_the_endpoint(unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"
    async with Session(Connection(region=REGION, dynamodb_endpoint_url=url)) as session:
        with pytest.raises(errors.PreflightError, match=rf"{url}.* Check the network, the proxy"):
            await session.describe_table("T")


async def test_a_server_that_is_not_http_is_told() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"nonsense\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, Session(Connection(region=REGION, dynamodb_endpoint_url=url)) as session:
        with pytest.raises(errors.PreflightError, match="Describing table T"):
            await session.describe_table("T")


# S3


async def test_a_buckets_region_is_found_from_anywhere(moto: Server) -> None:
    bucket = "bucket-in-ireland"
    moto.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    async with Session(to(moto)) as session:
        assert await session.bucket_region(bucket) == "eu-west-1"


async def test_an_s3_that_names_no_region_has_the_tables(seaweed: Server) -> None:
    async with Session(to(seaweed)) as session:
        assert await session.bucket_region(seaweed.create_bucket()) == seaweed.region


async def test_a_missing_bucket(s3: Server) -> None:
    async with Session(to(s3)) as session:
        with pytest.raises(errors.PreflightError, match=r"There is no bucket nowhere-at-all\. Check the name"):
            await session.bucket_region("nowhere-at-all")


async def test_a_bucket_that_is_forbidden_by_wrong_keys(seaweed: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = seaweed.create_bucket()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    async with Session(to(seaweed)) as session:
        with pytest.raises(errors.PreflightError, match=f"Asking for bucket {bucket} failed: .*403"):
            await session.bucket_region(bucket)


async def test_an_s3_client_asks_its_source_at_every_request(seaweed: Server) -> None:
    right = Credentials(seaweed.access_key, seaweed.secret_key)
    source, bucket = FakeCredentials(right), seaweed.create_bucket()
    async with s3_client(S3Facts(seaweed.region, seaweed.url), source) as client:
        await client.put_object(Bucket=bucket, Key="k", Body=b"data")
        source.current = Credentials(seaweed.access_key, "no longer right")
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            await client.get_object(Bucket=bucket, Key="k")
        source.current = right
        reply = await client.get_object(Bucket=bucket, Key="k")
        assert await reply["Body"].read() == b"data"


async def test_an_s3_client_without_its_own_endpoint_goes_to_aws() -> None:
    source = StaticCredentials(Credentials("A", "S"))
    async with s3_client(S3Facts("eu-west-1", None), source) as client:
        assert client.meta.endpoint_url == "https://s3.eu-west-1.amazonaws.com"


# Imports


def test_aioboto3_is_imported_only_when_a_session_is_opened() -> None:
    modules = "ddbio.aws.session, ddbio.aws.table, ddbio.wire.dynamodb"
    script = f"import sys, {modules}; print([m for m in sys.modules if 'boto' in m])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
