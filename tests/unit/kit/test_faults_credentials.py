"""Keys that wear out, from an endpoint as containers have one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import aiohttp
import pytest

from ddbio.aws.session import Session
from ddbio.options import Connection
from tests.conftest import StartCounting
from tests.kit.faults.credentials import KeyRing
from tests.kit.faults.proxy import FaultProxy
from tests.kit.servers.client import call, call_as
from tests.kit.servers.tables import Table


async def ask(proxy: FaultProxy) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{proxy.url}/_credentials") as reply:
        return reply.status, await reply.json(content_type=None)


def signed_by(key: str) -> dict[str, str]:
    return {"Authorization": f"AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/dynamodb/aws4_request"}


async def test_a_key_is_good_for_its_life_and_then_expired(counting: StartCounting) -> None:
    server = await counting(Table(items=10))
    async with FaultProxy(server.url, keys=KeyRing(3, seconds=600)) as proxy:
        (_, first), (_, second) = await ask(proxy), await ask(proxy)
        assert len({first["AccessKeyId"], second["AccessKeyId"]}) == 2
        left = datetime.fromisoformat(first["Expiration"]) - datetime.now(UTC)
        assert timedelta(seconds=590) < left <= timedelta(seconds=600)
        for _ in range(3):
            assert (await call_as(signed_by(first["AccessKeyId"]), proxy, "Scan", TableName="T")).status == 200
        for _ in range(2):
            worn = await call_as(signed_by(first["AccessKeyId"]), proxy, "Scan", TableName="T")
            assert (worn.status, worn.code) == (400, "ExpiredTokenException")
        assert (await call_as(signed_by(second["AccessKeyId"]), proxy, "Scan", TableName="T")).status == 200
        # Keys from elsewhere last for ever.
        for _ in range(5):
            assert (await call(proxy, "Scan", TableName="T")).status == 200
        assert (proxy.keys and proxy.keys.issued, proxy.keys and proxy.keys.refused) == (2, 2)
        assert proxy.account.served.pages == 9
    assert server.account.totals("read").requests == 9


async def test_s3_says_it_in_its_own_way(counting: StartCounting) -> None:
    server = await counting()
    async with FaultProxy(server.url, keys=KeyRing(0)) as proxy, aiohttp.ClientSession() as session:
        key = (await ask(proxy))[1]["AccessKeyId"]
        async with session.put(
            f"{proxy.url}/bucket/key", data=BytesIO(bytes(9_000_000)), headers=signed_by(key)
        ) as reply:
            assert reply.status == 400
            assert "<Code>ExpiredToken</Code>" in await reply.text()


async def test_the_endpoint_fails_as_often_as_it_is_told(counting: StartCounting) -> None:
    server = await counting()

    async def statuses(seed: int) -> list[int]:
        async with FaultProxy(server.url, keys=KeyRing(1, failures=0.5, seed=seed)) as proxy:
            return [(await ask(proxy))[0] for _ in range(40)]

    first = await statuses(1)
    assert 10 < first.count(500) < 30
    assert first.count(200) + first.count(500) == 40
    assert await statuses(1) == first != await statuses(2)


async def test_without_keys_there_is_no_endpoint(counting: StartCounting) -> None:
    server = await counting()
    async with FaultProxy(server.url) as proxy:
        assert (await ask(proxy))[0] != 200


async def test_sessions_take_it_for_a_container(counting: StartCounting, monkeypatch: pytest.MonkeyPatch) -> None:
    server = await counting()
    async with FaultProxy(server.url, keys=KeyRing(1)) as proxy:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{proxy.url}/_credentials")
        async with Session(Connection(region="us-east-1")) as session:
            first = await session.credentials()
            second = await session.credential_provider().renew(first)
        assert first.access_key.startswith("ASIAFAULTS")
        assert first.access_key != second.access_key
        assert first.expiry is not None
