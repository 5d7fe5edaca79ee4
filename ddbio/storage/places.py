"""From what a person wrote to the storage that it names."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any, BinaryIO

from ddbio.errors import UsageError
from ddbio.options import S3Options
from ddbio.storage import S3, Local, parse_location
from ddbio.storage.base import Sink, Source
from ddbio.storage.local.sink import LocalSink
from ddbio.storage.local.source import LocalSource
from ddbio.storage.stdio import StdinSource, StdoutSink


def open_sink(
    destination: str,
    run: str,
    *,
    client: Any,
    s3_options: S3Options,
    executor: Executor,
    stream: BinaryIO | None,
) -> Sink:
    """The sink that `destination` names; `client` serves S3, `stream` is what `-` stands for."""
    place = parse_location(destination)
    if isinstance(place, Local):
        return LocalSink(place.path, run, executor=executor)
    if isinstance(place, S3):
        # Imported here: aioboto3 takes half a second, and only S3 needs it.
        from ddbio.storage.s3.sink import S3Sink  # noqa: PLC0415

        return S3Sink(client, place.bucket, place.prefix, options=s3_options)
    return StdoutSink(_given(stream, "output"), executor=executor)


def open_source(source: str, *, client: Any, executor: Executor, stream: BinaryIO | None) -> Source:
    """The source that `source` names; `client` serves S3, `stream` is what `-` stands for."""
    place = parse_location(source)
    if isinstance(place, Local):
        return LocalSource(place.path, executor=executor)
    if isinstance(place, S3):
        from ddbio.storage.s3.source import S3Source  # noqa: PLC0415

        return S3Source(client, place.bucket, place.prefix)
    return StdinSource(_given(stream, "input"), executor=executor)


def _given(stream: BinaryIO | None, parameter: str) -> BinaryIO:
    if stream is None:
        raise UsageError("'-' needs a stream.", hint=f"Hand a binary file object in as `{parameter}`.")
    return stream
