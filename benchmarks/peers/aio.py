"""The asynchronous clients, which talk to what the environment names."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any


def aioboto3_client() -> AbstractAsyncContextManager[Any]:
    """aioboto3's low-level client for DynamoDB."""
    import aioboto3  # noqa: PLC0415 - half a second to import, for this peer only

    client: AbstractAsyncContextManager[Any] = aioboto3.Session().client("dynamodb")
    return client


@asynccontextmanager
async def aiodynamo_client() -> AsyncIterator[Any]:
    """aiodynamo's client, on aiohttp."""
    from aiodynamo.client import Client  # noqa: PLC0415 - for this peer only
    from aiodynamo.credentials import Credentials  # noqa: PLC0415
    from aiodynamo.http.aiohttp import AIOHTTP  # noqa: PLC0415
    from aiohttp import ClientSession, TCPConnector  # noqa: PLC0415
    from yarl import URL  # noqa: PLC0415

    context = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE"))
    async with ClientSession(connector=TCPConnector(ssl=context)) as session:
        endpoint = URL(os.environ["AWS_ENDPOINT_URL"])
        yield Client(AIOHTTP(session), Credentials.auto(), os.environ["AWS_REGION"], endpoint)
