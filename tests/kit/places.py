"""The places that a sink writes to or a source reads from, and what an onlooker without ddbio sees there."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import aioboto3
import pytest
from aiobotocore.config import AioConfig

from ddbio.retry import Attempts, Backoff
from ddbio.storage.base import OutputFile, Sink, Source
from ddbio.storage.local.sink import LocalSink
from ddbio.storage.local.source import LocalSource
from ddbio.storage.s3.parts import send_parts_through
from ddbio.storage.s3.sink import S3Sink
from ddbio.storage.s3.source import S3Source
from ddbio.storage.s3.tuning import S3Tuning
from ddbio.wire.transport import HttpTransport
from tests.kit.servers.aws import Server

NAMES = ["folder", "moto", "seaweed"]
PREFIX = "exports/run 1"
ATTEMPTS = 5
QUICK = S3Tuning(retries=Attempts(most=ATTEMPTS, backoff=Backoff(base=0.0)))
"""Retries without pauses."""


class Place(ABC):
    """One place; names are relative to its root."""

    @abstractmethod
    def sink(self, run: str = "run7") -> Sink:
        """A new sink whose root it is."""

    @abstractmethod
    def source(self, name: str = "") -> Source:
        """A new source: everything there, or what `name` says."""

    @abstractmethod
    def fill(self, files: dict[str, bytes]) -> None:
        """Put files there."""

    @abstractmethod
    def finished(self) -> dict[str, bytes]:
        """Every file that is there under its final name."""

    @abstractmethod
    def unfinished(self) -> list[str]:
        """Whatever an unfinished file has left."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Take a file away."""


class Folder(Place):
    """A local folder, which does not exist at first."""

    def __init__(self, root: Path, executor: Executor) -> None:
        self.root = root
        self._executor = executor

    def sink(self, run: str = "run7") -> LocalSink:
        return LocalSink(self.root, run, executor=self._executor)

    def source(self, name: str = "") -> LocalSource:
        return LocalSource(str(self.root / name), executor=self._executor)

    def fill(self, files: dict[str, bytes]) -> None:
        for name, data in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def finished(self) -> dict[str, bytes]:
        return {name: path.read_bytes() for name, path in self._paths() if path.suffix != ".part"}

    def unfinished(self) -> list[str]:
        return [name for name, path in self._paths() if path.suffix == ".part"]

    def remove(self, name: str) -> None:
        (self.root / name).unlink()

    def _paths(self) -> Iterator[tuple[str, Path]]:
        for path in self.root.rglob("*"):
            if path.is_file():
                yield path.relative_to(self.root).as_posix(), path


class Bucket(Place):
    """A prefix in a new bucket."""

    def __init__(self, server: Server, client: Any) -> None:
        self.server = server
        self.name = server.create_bucket()
        self.client = client
        self._boto3 = server.client("s3")

    def sink(self, run: str = "run7", client: Any = None, tuning: S3Tuning = QUICK, **arguments: Any) -> S3Sink:
        return S3Sink(client or self.client, self.name, PREFIX, tuning=tuning, **arguments)

    def source(self, name: str = "", client: Any = None) -> S3Source:
        return S3Source(client or self.client, self.name, f"{PREFIX}/{name}" if name else PREFIX, tuning=QUICK)

    def fill(self, files: dict[str, bytes]) -> None:
        # Not more than one empty object: after it boto3 misreads the next reply of SeaweedFS on that connection.
        for name, data in files.items():
            self._boto3.put_object(Bucket=self.name, Key=f"{PREFIX}/{name}", Body=data)

    def finished(self) -> dict[str, bytes]:
        return {key.removeprefix(f"{PREFIX}/"): data for key, data in self.server.objects(self.name).items()}

    def unfinished(self) -> list[str]:
        return self.server.uploads(self.name)

    def remove(self, name: str) -> None:
        self._boto3.delete_object(Bucket=self.name, Key=f"{PREFIX}/{name}")


@contextlib.asynccontextmanager
async def s3_client(server: Server, url: str | None = None) -> AsyncIterator[Any]:
    """An aioboto3 client of the server, or of what stands before it at `url`; it retries nothing."""
    session = aioboto3.Session(server.access_key, server.secret_key, region_name=server.region)
    config = AioConfig(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    async with (
        HttpTransport(connections=8) as transport,
        # Not verified, as there is no TLS: to read the certificates takes 30 ms.
        session.client("s3", endpoint_url=url or server.url, config=config, verify=False) as client,
    ):
        send_parts_through(transport, client)
        yield client


@contextlib.asynccontextmanager
async def open_place(name: str, request: pytest.FixtureRequest, executor: Executor) -> AsyncIterator[Place]:
    """The place that goes by one of NAMES, empty."""
    if name == "folder":
        yield Folder(request.getfixturevalue("tmp_path") / "out", executor)
        return
    server = request.getfixturevalue(name)
    async with s3_client(server) as client:
        yield Bucket(server, client)


def blocks(count: int, size: int) -> list[bytes]:
    """Blocks that differ from each other."""
    return [number.to_bytes(4, "big") * (size // 4) for number in range(count)]


async def write_all(file: OutputFile, data: list[bytes]) -> None:
    """Write block after block."""
    for block in data:
        await file.write(block)
