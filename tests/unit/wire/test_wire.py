"""The data plane: what is sent, what is accepted, what each failure becomes."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import uvloop

from ddbio import errors
from ddbio.options import ScanFilter
from ddbio.wire.dynamodb import DynamoDB, ScanPlan
from ddbio.wire.replies import MAX_MESSAGE, BatchReply
from ddbio.wire.signing import Credentials, StaticCredentials
from ddbio.wire.transport import HttpTransport, Reply
from tests.kit.credentials import FakeCredentials
from tests.kit.servers import http
from tests.kit.servers.certificate import write_certificate
from tests.kit.servers.raw import listening, say_nothing

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
STATIC = StaticCredentials(Credentials("AKIA", "secret-key", "session-token"))
DEEP = b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
PAGE = b'{"Count":0,"Items":[],"ScannedCount":0}'


class Wire:
    """A transport that answers everything with one reply, and keeps what was sent."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        sums = {"x-amz-crc32": str(crc32(body)), "x-amzn-requestid": "R1"}
        self.reply = Reply(status, sums if headers is None else headers, body)
        self.sent: list[tuple[str, Mapping[str, str], bytes]] = []

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        self.sent.append((url, headers, body))
        return self.reply


def service(
    wire: Any, credentials: Any = STATIC, endpoint: str = "http://localhost:8000", executor: Executor | None = None
) -> DynamoDB:
    return DynamoDB(
        endpoint=endpoint,
        region="eu-west-1",
        transport=wire,
        credentials=credentials,
        executor=executor or ThreadPoolExecutor(1),
        now=lambda: NOW,
    )


async def failure(status: int, body: object, headers: Mapping[str, str] | None = None) -> errors.ServiceError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(errors.ServiceError) as caught:
        await service(Wire(status, raw, headers)).scan(b"{}")
    return caught.value


# What is sent


def test_a_plain_scan_says_only_what_it_must() -> None:
    assert json.loads(ScanPlan(table="T").body()) == {
        "TableName": "T",
        "Segment": 0,
        "TotalSegments": 1,
        "ReturnConsumedCapacity": "TOTAL",
    }


def test_a_full_scan_request_keeps_raw_json_unchanged() -> None:
    key = b'{"pk":{"N":"1.50"}}'
    plan = ScanPlan(
        table='T"ä',
        segment=3,
        total_segments=8,
        what=ScanFilter(
            consistent=True,
            index="I",
            filter_expression="#a = :a",
            projection_expression="#a",
            expression_names={"#a": "a"},
            expression_values={":a": {"N": "0.10"}},
        ),
    )
    body = plan.body(key, limit=5)
    assert json.loads(body) == {
        "TableName": 'T"ä',
        "IndexName": "I",
        "Segment": 3,
        "TotalSegments": 8,
        "ConsistentRead": True,
        "FilterExpression": "#a = :a",
        "ProjectionExpression": "#a",
        "ExpressionAttributeNames": {"#a": "a"},
        "ExpressionAttributeValues": {":a": {"N": "0.10"}},
        "ReturnConsumedCapacity": "TOTAL",
        "Limit": 5,
        "ExclusiveStartKey": {"pk": {"N": "1.50"}},
    }
    assert key in body
    assert "0.10" not in repr(plan)


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        ("https://dynamodb.eu-west-1.amazonaws.com", "dynamodb.eu-west-1.amazonaws.com"),
        ("https://example.com:443/", "example.com"),
        ("http://example.com:443", "example.com:443"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
async def test_a_request_carries_its_operation_and_signature(endpoint: str, host: str) -> None:
    wire = Wire(200, PAGE)
    assert await service(wire, endpoint=endpoint).scan(b'{"TableName":"T"}') == PAGE
    ((url, headers, body),) = wire.sent
    assert (url, body, headers["Host"]) == (endpoint, b'{"TableName":"T"}', host)
    assert headers["X-Amz-Target"] == "DynamoDB_20120810.Scan"
    assert headers["Content-Type"] == "application/x-amz-json-1.0"
    assert headers["X-Amz-Security-Token"] == "session-token"
    assert headers["Authorization"].startswith(
        "AWS4-HMAC-SHA256 Credential=AKIA/20261123/eu-west-1/dynamodb/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, Signature="
    )


@pytest.mark.parametrize("endpoint", ["", "localhost:8000", "ftp://x", "http://", "http://x:port", "http://x/?a=b"])
def test_what_is_no_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(errors.UsageError, match="is no endpoint"):
        service(Wire(200, PAGE), endpoint=endpoint)


async def test_what_global_indexes_consume_is_not_the_tables() -> None:
    consumed = {
        "TableName": "T",
        "CapacityUnits": 9.0,
        "Table": {"CapacityUnits": 3.0},
        "LocalSecondaryIndexes": {"l": {"CapacityUnits": 2.0}},
        "GlobalSecondaryIndexes": {"g": {"CapacityUnits": 3.0}, "h": {"CapacityUnits": 1.0}},
    }
    wire = Wire(200, json.dumps({"UnprocessedItems": {}, "ConsumedCapacity": [consumed]}).encode())
    assert (await service(wire).batch_write("T", [], 0)).capacity == 5.0


@pytest.mark.parametrize("units", ["-1", "1e300", '3,"GlobalSecondaryIndexes":{"g":{"CapacityUnits":4}}'])
async def test_what_no_batch_can_consume_is_not_believed(units: str) -> None:
    wire = Wire(200, b'{"UnprocessedItems":{},"ConsumedCapacity":[{"CapacityUnits":%s}]}' % units.encode())
    assert (await service(wire).batch_write("T", [], 0)).capacity is None


async def test_a_batch_is_joined_from_its_requests() -> None:
    wire = Wire(200, b'{"UnprocessedItems":{},"ConsumedCapacity":[{"TableName":"T","CapacityUnits":3.0}]}')
    put = b'{"PutRequest":{"Item":{"pk":{"N":"1.0"}}}}'
    assert await service(wire).batch_write("T", [put, put], 2 * len(put)) == BatchReply((), 3.0)
    sent = wire.sent[0][2]
    assert json.loads(sent) == {"RequestItems": {"T": [json.loads(put)] * 2}, "ReturnConsumedCapacity": "INDEXES"}
    assert put + b"," + put in sent
    assert wire.sent[0][1]["X-Amz-Target"] == "DynamoDB_20120810.BatchWriteItem"


async def test_a_large_batch_is_joined_and_signed_in_one_thread_call() -> None:
    class Counting(ThreadPoolExecutor):
        turns = 0

        def submit(self, *arguments: Any, **more: Any) -> Future[Any]:
            self.turns += 1
            return super().submit(*arguments, **more)

    wire, turns = Wire(200, b'{"UnprocessedItems":{}}'), []
    request = b'{"PutRequest":{"Item":{"pk":{"S":"%s"}}}}' % (b"x" * 3_000_000)
    with Counting(1) as executor:
        for size in (len(request), 0):  # as if it were small
            await service(wire, executor=executor).batch_write("T", [request], size)
            turns.append(executor.turns)
    assert turns == [1, 1]
    assert wire.sent[0] == wire.sent[1]
    assert "Signature=" in wire.sent[0][1]["Authorization"]


# What is accepted


async def test_unprocessed_items_come_back_as_they_were_written() -> None:
    items = [b'{"pk":{"N":"1.50"},"a":{"L":[]}}', b'{ "pk" : {"S":"\\u0041"} }']
    writes = b",".join(b'{"PutRequest":{"Item":' + item + b"}}" for item in items)
    wire = Wire(200, b'{"UnprocessedItems":{"T":[' + writes + b"]}}")
    assert await service(wire).batch_write("T", [], 0) == BatchReply(tuple(items), None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"UnprocessedItems":null}',
        b'{"UnprocessedItems":{"T":[{"DeleteRequest":{"Key":{}}}]}}',
        DEEP,
    ],
)
async def test_a_batch_reply_of_another_shape_is_corrupt(body: bytes) -> None:
    with pytest.raises(errors.CorruptReplyError, match="BatchWriteItem"):
        await service(Wire(200, body)).batch_write("T", [], 0)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-amz-crc32": str(crc32(PAGE) ^ 1)},
        {"x-amz-crc32": "what"},
        {"x-amz-crc32": "²"},
        {"x-amz-crc32": "1" * 5_000},
    ],
)
async def test_a_reply_without_its_checksum_is_corrupt(headers: dict[str, str]) -> None:
    with pytest.raises(errors.CorruptReplyError):
        await service(Wire(200, PAGE, headers)).scan(b"{}")


# What each failure becomes


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("ProvisionedThroughputExceededException", 400, errors.ThrottledError),
        ("ThrottlingException", 400, errors.ThrottledError),
        ("RequestLimitExceeded", 400, errors.ThrottledError),
        ("InternalServerError", 500, errors.UnavailableError),
        ("ReplicatedWriteConflictException", 400, errors.UnavailableError),
        ("SomethingNew", 503, errors.UnavailableError),
        ("ValidationException", 400, errors.RefusedError),
        ("ResourceNotFoundException", 400, errors.RefusedError),
        ("AccessDeniedException", 400, errors.RefusedError),
        ("SerializationException", 400, errors.RefusedError),
        ("ItemCollectionSizeLimitExceededException", 400, errors.RefusedError),
    ],
)
async def test_codes_have_their_kinds(code: str, status: int, kind: type[errors.ServiceError]) -> None:
    error = await failure(status, {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "Because."})
    assert type(error) is kind
    assert (error.code, error.status, error.request_id) == (code, status, "R1")
    assert str(error) == f"{code}: Because."


@pytest.mark.parametrize("member", ["ThrottlingReasons", "throttlingReasons"])
async def test_throttling_reasons_are_kept(member: str) -> None:
    reasons = [{"reason": "TableReadProvisionedThroughputExceeded", "resource": "arn"}, {"reason": "Other"}]
    error = await failure(400, {"__type": "x#ThrottlingException", "Message": "m", member: reasons})
    assert error.reasons == ("TableReadProvisionedThroughputExceeded", "Other")
    assert error.resources == ("arn", "")


@pytest.mark.parametrize(
    ("reasons", "told"),
    [
        ([{"reason": None, "resource": None}], "ThrottlingException"),
        ([None], "ThrottlingException"),
        ([], "ThrottlingException"),
        ([{"reason": "TableReadAccountLimitExceeded", "resource": "arn:x:table/T"}], "TableReadAccountLimitExceeded"),
        ([{"reason": "IndexWriteOther", "resource": "arn:x:table/T/index/by-date"}], "IndexWriteOther by-date"),
    ],
)
async def test_the_reason_of_throttling_names_the_index(reasons: list[dict[str, str | None] | None], told: str) -> None:
    error = await failure(400, {"__type": "x#ThrottlingException", "Message": "m", "ThrottlingReasons": reasons})
    assert isinstance(error, errors.ThrottledError)
    assert error.reason == told


@pytest.mark.parametrize(
    ("status", "body", "code", "kind"),
    [
        (413, b"<html>", "RequestEntityTooLarge", errors.RefusedError),
        (502, b"<html>", "Http502", errors.UnavailableError),
        (503, b"", "Http503", errors.UnavailableError),
        (400, b'{"__type":"Throttling"}', "Throttling", errors.ThrottledError),
        (400, b'{"__type":"x#RequestTimeout"}', "RequestTimeout", errors.UnavailableError),
        (429, b"\xff", "Http429", errors.ThrottledError),
        (403, b'{"__type":7}', "Http403", errors.RefusedError),
        (500, DEEP, "Http500", errors.UnavailableError),
        (301, b"", "Http301", errors.RefusedError),
    ],
)
async def test_replies_that_are_not_the_services_go_by_their_status(
    status: int, body: bytes, code: str, kind: type[errors.ServiceError]
) -> None:
    error = await failure(status, body, {})
    assert type(error) is kind
    assert (error.code, error.request_id) == (code, None)


async def test_messages_are_cut_and_quote_no_signed_request() -> None:
    long = await failure(400, {"__type": "x#ValidationException", "message": "y" * 1_000})
    assert str(long) == "ValidationException: " + "y" * MAX_MESSAGE
    quoting = await failure(
        400, {"__type": "x#InvalidSignatureException", "message": "No match.\n\ntoken:session-token"}
    )
    assert "session-token" not in f"{quoting} {quoting!r}"


@pytest.mark.parametrize(
    ("late", "hint"),
    [
        (timedelta(minutes=20), "clock is 1200 s behind"),
        (-timedelta(minutes=20), "clock is 1200 s ahead of"),
        (timedelta(seconds=10), "Check the secret access key"),
    ],
)
async def test_a_wrong_clock_is_named(late: timedelta, hint: str) -> None:
    body = {"__type": "x#InvalidSignatureException", "message": "Signature expired"}
    error = await failure(400, body, {"date": format_datetime(NOW + late, usegmt=True)})
    assert isinstance(error, errors.RefusedError)
    assert error.hint is not None
    assert hint in error.hint


@pytest.mark.parametrize(
    "date", ["", "yesterday", "Mon, 30 Nov 99999999999 10:00:00 GMT", "Mon, 23 Nov 2026 12:00:00 -0000"]
)
async def test_without_a_date_nothing_is_said_of_the_clock(date: str) -> None:
    error = await failure(
        400, {"__type": "x#InvalidSignatureException", "message": "m"}, {"date": date} if date else {}
    )
    assert error.hint == "Check the secret access key."


@pytest.mark.parametrize("code", ["ExpiredTokenException", "UnrecognizedClientException"])
async def test_refused_credentials_are_renewed_unseen_by_the_caller(code: str) -> None:
    source = FakeCredentials(Credentials("OLD", "x"), Credentials("NEW", "y"), Credentials("NEWER", "z"))
    wire = Wire(400, json.dumps({"__type": f"x#{code}", "message": "m"}).encode())
    dynamodb = service(wire, source)
    with pytest.raises(errors.CredentialsError):
        await dynamodb.scan(b"{}")
    assert source.stale == Credentials("OLD", "x")
    with pytest.raises(errors.CredentialsError):
        await dynamodb.scan(b"{}")
    assert ["OLD" in wire.sent[0][1]["Authorization"], "NEW" in wire.sent[1][1]["Authorization"]] == [True, True]
    assert len(wire.sent) == 2


async def test_where_there_are_no_others_that_is_the_error() -> None:
    wire = Wire(400, b'{"__type":"x#ExpiredTokenException","message":"m"}')
    with pytest.raises(errors.CredentialsUnavailableError):
        await service(wire).scan(b"{}")


# The transport


@asynccontextmanager
async def serving(handler: Callable[[http.Request], Awaitable[http.Reply]]) -> AsyncIterator[str]:
    server = http.HttpServer(handler)
    port = await server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await server.stop()


async def echo(request: http.Request) -> http.Reply:
    return http.Reply((request.body,), crc=crc32(request.body))


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000, 16_000_000])
async def test_bodies_go_and_come_whole(size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    async with serving(echo) as url, HttpTransport(connections=2) as transport:
        reply = await transport(url, {}, body)
    assert (reply.status, reply.body == body) == (200, True)
    assert reply.headers["x-amz-crc32"] == str(crc32(body))


async def test_the_signed_host_is_sent_and_compression_is_not_asked() -> None:
    seen: list[http.Request] = []

    async def keep(request: http.Request) -> http.Reply:
        seen.append(request)
        return http.Reply((PAGE,), crc=crc32(PAGE))

    async with serving(keep) as url, HttpTransport(connections=1) as transport:
        assert await service(transport, endpoint=url).scan(b"{}") == PAGE
    assert seen[0].headers["host"] == url.removeprefix("http://")
    assert seen[0].headers["accept-encoding"] == "identity"


async def test_at_most_so_many_requests_are_in_flight() -> None:
    now = most = 0
    full = asyncio.Event()

    async def count(request: http.Request) -> http.Reply:
        nonlocal now, most
        now += 1
        most = max(most, now)
        if now == 3:
            full.set()
        await full.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        now -= 1
        return http.Reply((b"",))

    async with serving(count) as url, HttpTransport(connections=3) as transport:
        await asyncio.gather(*(transport(url, {}, b"") for _ in range(20)))
    assert most == 3


@pytest.mark.parametrize("fault", [{"reset": True}, {"cut": 10}, {"cut": 0}])
async def test_a_broken_reply_is_no_reply_and_quotes_nothing(fault: dict[str, Any]) -> None:
    async def breaking(request: http.Request) -> http.Reply:
        return http.Reply((b"an item's contents",), **fault)

    async with serving(breaking) as url, HttpTransport(connections=1) as transport:
        with pytest.raises(errors.TransportError, match=r"No reply from 127\.0\.0\.1:\d+ to Scan: ") as caught:
            await service(transport, endpoint=url).scan(b"{}")
    assert "contents" not in str(caught.value)
    assert caught.value.__suppress_context__


async def test_what_is_not_http_is_no_reply_and_quotes_nothing() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"an item's contents\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, HttpTransport(connections=1) as transport:
        with pytest.raises(errors.TransportError) as caught:
            await transport(url, {}, b"{}")
    assert "contents" not in str(caught.value)


async def test_silence_ends_in_a_timeout() -> None:
    async def silent(request: http.Request) -> http.Reply:
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(silent) as url, HttpTransport(connections=1, timeout=0.1) as transport:
        with pytest.raises(errors.TransportError, match="timeout"):
            await transport(url, {}, b"{}")


async def test_nobody_there_is_told_with_the_reason(unused_tcp_port: int) -> None:
    async with HttpTransport(connections=1) as transport:
        with pytest.raises(errors.TransportError, match=r"127\.0\.0\.1:\d+ to POST: ConnectionRefusedError \(.+\)"):
            await transport(f"http://127.0.0.1:{unused_tcp_port}", {}, b"{}")


async def test_redirects_are_not_followed() -> None:
    async def redirect(request: http.Request) -> http.Reply:
        return http.Reply((b"",), status=307)

    async with serving(redirect) as url, HttpTransport(connections=1) as transport:
        assert (await transport(url, {}, b"{}")).status == 307


async def test_cancelling_frees_the_connection() -> None:
    arrived, release = asyncio.Event(), asyncio.Event()

    async def slow(request: http.Request) -> http.Reply:
        if request.body == b"slow":
            arrived.set()
            await release.wait()
        return http.Reply((b"done",))

    async with serving(slow) as url, HttpTransport(connections=1) as transport:
        task = asyncio.create_task(transport(url, {}, b"slow"))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await transport(url, {}, b"quick")).body == b"done"
        release.set()


async def test_proxies_of_the_environment_are_used_and_bypassed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(request: http.Request) -> http.Reply:
        return http.Reply((f"{request.path} {request.headers.get('proxy-authorization')}".encode(),))

    async with serving(answer) as url:
        monkeypatch.setenv("http_proxy", url.replace("http://", "http://user:pass@"))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with HttpTransport(connections=2) as transport:
            assert (await transport(url, {}, b"")).body == b"/ None"
            proxied = await transport("http://dynamodb.invalid/", {}, b"")
    assert proxied.body == b"http://dynamodb.invalid/ Basic dXNlcjpwYXNz"


async def test_proxies_without_scheme_and_exceptions_with_port(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def answer(request: http.Request) -> http.Reply:
        return http.Reply((request.path.encode(),))

    async with serving(answer) as url:
        monkeypatch.setenv("http_proxy", url.removeprefix("http://"))
        monkeypatch.setenv("no_proxy", url.removeprefix("http://"))
        async with HttpTransport(connections=2) as transport:
            assert (await transport(url, {}, b"")).body == b"/"
            assert (await transport("http://dynamodb.invalid/", {}, b"")).body == b"http://dynamodb.invalid/"


async def test_a_proxy_that_is_no_address_is_no_passing_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://user:secret@[bad")
    async with HttpTransport(connections=1) as transport:
        with pytest.raises(errors.PreflightError) as raised:
            await transport("http://dynamodb.invalid/", {}, b"")
    assert "http_proxy" in str(raised.value.hint)
    assert "secret" not in f"{raised.value} {raised.value.hint}"


async def test_a_proxy_that_does_not_answer_connect_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(say_nothing) as port, HttpTransport(connections=1, timeout=0.3) as transport:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        with pytest.raises(errors.TransportError, match="timeout"):
            async with asyncio.timeout(60):
                await transport("https://dynamodb.invalid/", {}, b"")


async def test_what_a_proxy_says_to_connect_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_: http.Request) -> http.Reply:
        return http.Reply((b"no",), 407)

    async with serving(refuse) as url, HttpTransport(connections=1) as transport:
        monkeypatch.setenv("https_proxy", url)
        with pytest.raises(errors.TransportError, match="the proxy answers with HTTP status 407"):
            await transport("https://dynamodb.invalid/", {}, b"")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that nobody trusts, for 127.0.0.1, and its key, in one file."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    write_certificate(path)
    return path


@asynccontextmanager
async def serving_tls(certificate: Path) -> AsyncIterator[str]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_server_that_is_not_trusted_is_told_apart(certificate: Path) -> None:
    async with serving_tls(certificate) as url, HttpTransport(connections=1) as transport:
        with pytest.raises(errors.CertificateError, match="self-signed certificate") as caught:
            await transport(url, {}, b"")
    assert "AWS_CA_BUNDLE" in str(caught.value)


async def test_aws_ca_bundle_is_trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    async with serving_tls(certificate) as url, HttpTransport(connections=1) as transport:
        assert (await transport(url, {}, b"")).body == b"ok"


@pytest.mark.parametrize("loop_factory", [asyncio.SelectorEventLoop, uvloop.new_event_loop])
def test_large_bodies_go_and_come_over_tls(certificate: Path, loop_factory: Any) -> None:
    pieces = [b"a" * 3_000_000, b"b", b"c" * 5_000_000]

    async def echo_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(8_000_001)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8000001\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    async def main() -> bytes:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server = await asyncio.start_server(echo_once, "127.0.0.1", 0, ssl=context)
        async with server, HttpTransport(connections=1, ca_bundle=str(certificate)) as transport:
            url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            return bytes((await transport.send("PUT", url, {}, pieces)).body)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert runner.run(main()) == b"".join(pieces)


@pytest.mark.parametrize("content", [None, "not a certificate"])
async def test_a_broken_ca_bundle_is_told_before_any_request(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "bundle.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(errors.PreflightError, match=r"bundle\.pem"):
        async with HttpTransport(connections=1, ca_bundle=str(path)):
            pass


async def test_a_transport_is_used_inside_its_block() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await HttpTransport(connections=1)("http://127.0.0.1", {}, b"")
