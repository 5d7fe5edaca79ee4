"""Fixtures that several folders of tests share: threads for files, places to write to, journals to watch."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.kit.places import NAMES, Bucket, Place, open_place, s3_client
from tests.kit.servers.aws import Server
from tests.kit.stopping import Journaled


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    """The threads that file calls run in; the test ends only when all of them have ended."""
    with ThreadPoolExecutor(4) as executor:
        yield executor


@pytest.fixture(params=NAMES)
async def place(request: pytest.FixtureRequest, executor: ThreadPoolExecutor) -> AsyncIterator[Place]:
    """Each kind of place in turn, empty."""
    async with open_place(request.param, request, executor) as place:
        yield place


@pytest.fixture
async def bucket(s3: Server) -> AsyncIterator[Bucket]:
    """Each S3 in turn: a prefix in an empty bucket."""
    async with s3_client(s3) as client:
        yield Bucket(s3, client)


@pytest.fixture
def journaled(monkeypatch: pytest.MonkeyPatch) -> Journaled:
    """Watches every journal."""
    return Journaled(monkeypatch)
