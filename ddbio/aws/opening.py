"""Opens the sources and destinations that locations name, for a job or one of its workers, in S3 too."""

from __future__ import annotations

from concurrent.futures import Executor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from ddbio.aws.s3 import S3Facts, s3_client
from ddbio.errors import UsageError
from ddbio.options import S3Options
from ddbio.storage import Local, Std, parse_location
from ddbio.storage.base import Sink, Source
from ddbio.storage.local.sink import LocalSink
from ddbio.storage.local.source import LocalSource
from ddbio.storage.stdio import StdinSource, StdoutSink
from ddbio.wire.signing import CredentialProvider


@dataclass(repr=False)
class Opener:
    """Opens sinks and sources, which stay open as long as `stack` does.

    `stream` is what the location `-` stands for. For a location in S3, `s3` says where its bucket is
    (`Session.s3_facts`); buckets in the same region share a client.
    """

    stack: AsyncExitStack
    credentials: CredentialProvider | None
    executor: Executor
    stream: BinaryIO | None
    clients: dict[S3Facts, Any] = field(default_factory=dict, init=False)

    async def sink(self, text: str, run: str, *, s3: S3Facts | None, options: S3Options) -> Sink:
        """The destination that `text` names; `run` is the name of the run or worker that writes to it."""
        sink: Sink
        location = parse_location(text)
        if isinstance(location, Local):
            sink = LocalSink(location.path, run, executor=self.executor)
        elif isinstance(location, Std):
            sink = StdoutSink(self._given("output"), executor=self.executor)
        else:
            # Imported here: aioboto3 takes half a second, and only S3 needs it.
            from ddbio.storage.s3.sink import S3Sink  # noqa: PLC0415

            sink = S3Sink(await self._client(s3), location.bucket, location.prefix, options=options)
        return await self.stack.enter_async_context(sink)

    async def source(self, text: str, *, s3: S3Facts | None) -> Source:
        source: Source
        location = parse_location(text)
        if isinstance(location, Local):
            source = LocalSource(location.path, executor=self.executor)
        elif isinstance(location, Std):
            source = StdinSource(self._given("input"), executor=self.executor)
        else:
            from ddbio.storage.s3.source import S3Source  # noqa: PLC0415

            source = S3Source(await self._client(s3), location.bucket, location.prefix)
        return await self.stack.enter_async_context(source)

    async def _client(self, facts: S3Facts | None) -> Any:
        if facts is None or self.credentials is None:
            raise ValueError("a location in S3 needs credentials, and the region of its bucket")
        if facts not in self.clients:
            self.clients[facts] = await self.stack.enter_async_context(s3_client(facts, self.credentials))
        return self.clients[facts]

    def _given(self, parameter: str) -> BinaryIO:
        if self.stream is None:
            raise UsageError("'-' needs a stream.", hint=f"Pass a binary file object as `{parameter}`.")
        return self.stream
