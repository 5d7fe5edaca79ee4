"""Every location opens the storage that it names."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from ddbio.aws.opening import Opener
from ddbio.aws.s3 import S3Facts
from ddbio.errors import UsageError
from ddbio.options import S3Options
from ddbio.storage.s3.source import S3Source
from ddbio.wire.signing import Credentials, StaticCredentials

HERE = S3Facts("eu-west-1", "http://127.0.0.1:9")
CREDENTIALS = StaticCredentials(Credentials("A", "S"))


@pytest.fixture
async def stack(executor: ThreadPoolExecutor) -> AsyncIterator[AsyncExitStack]:
    """Closed before the threads that its sinks use."""
    async with AsyncExitStack() as stack:
        yield stack


async def test_sinks_and_sources(stack: AsyncExitStack, executor: ThreadPoolExecutor, tmp_path: Path) -> None:
    opener = Opener(stack, CREDENTIALS, executor, io.BytesIO())
    folder = await opener.sink(str(tmp_path), "run7", s3=None, options=S3Options())
    output = await opener.sink("-", "run7", s3=None, options=S3Options())
    bucket = await opener.sink("s3://bucket/out", "run7", s3=HERE, options=S3Options())
    assert [sink.location for sink in (folder, output, bucket)] == [
        str(tmp_path),
        "standard output",
        "s3://bucket/out/",
    ]
    assert [sink.keeps_state for sink in (folder, output, bucket)] == [True, False, True]
    sources = [
        await opener.source(text, s3=facts) for text, facts in (("a.json", None), ("-", None), ("s3://bucket/a", HERE))
    ]
    assert [source.location for source in sources] == ["a.json", "standard input", "s3://bucket/a"]
    assert [source.rereadable for source in sources] == [True, False, True]


async def test_buckets_of_a_region_share_a_client(stack: AsyncExitStack, executor: ThreadPoolExecutor) -> None:
    opener = Opener(stack, CREDENTIALS, executor, None)
    facts = [HERE, HERE, S3Facts("us-east-1", HERE.endpoint)]
    sources = [await opener.source(f"s3://bucket-{number}/a", s3=each) for number, each in enumerate(facts)]
    first, second, third = (source._client._client for source in sources if isinstance(source, S3Source))
    assert first is second is not third


async def test_a_dash_needs_a_stream(stack: AsyncExitStack, executor: ThreadPoolExecutor) -> None:
    opener = Opener(stack, None, executor, None)
    with pytest.raises(UsageError, match="'-' needs a stream"):
        await opener.source("-", s3=None)
    with pytest.raises(UsageError, match="'-' needs a stream"):
        await opener.sink("-", "run7", s3=None, options=S3Options())
