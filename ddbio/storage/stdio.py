"""The standard streams, and whatever else can be read only once, from its beginning."""

from __future__ import annotations

import asyncio
import io
import os
import select
from collections.abc import AsyncGenerator, Callable, Container, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import BinaryIO

from ddbio.errors import DestinationError, OutputClosedError, SourceError
from ddbio.storage.base import OutputFile, Sink, Source, SourceFile, StoredFile, Survey
from ddbio.storage.steps import Steps
from ddbio.storage.tokens import Token

CHUNK = 1024 * 1024
"""The largest chunk that a source yields, in bytes."""


class StdoutSink(Sink):
    """All files go into one stream, which belongs to the caller, with whole blocks of different files interleaved.

    Small objects are dropped, and nothing can be listed, read back or removed. Written bytes count as durable.
    """

    keeps_state = False
    location = "standard output"

    def __init__(self, stream: BinaryIO, *, executor: Executor) -> None:
        self._stream = stream
        self._executor = executor
        self._turn = asyncio.Lock()
        self._steps = Steps()

    async def __aexit__(self, *exc: object) -> None:
        await self._steps.settle()

    async def check(self, expected_bytes: int | None) -> list[str]:  # noqa: ARG002 (a stream has no size)
        return []

    async def create(self, name: str, *, max_bytes: int) -> StdoutFile:  # noqa: ARG002 (a stream needs no plan)
        return StdoutFile(self, name)

    async def put(self, name: str, data: bytes) -> None:
        """Nothing to do: a stream carries records only."""

    async def get(self, name: str, *, most: int | None = None) -> bytes | None:  # noqa: ARG002 (nothing is kept)
        return None

    async def list(self, prefix: str = "") -> list[StoredFile]:  # noqa: ARG002 (nothing is kept)
        return []

    async def foreign_input(self, is_mine: Callable[[str], bool]) -> str | None:  # noqa: ARG002 (nothing is kept)
        return None

    async def delete(self, *names: str) -> None:
        """Nothing to do, either."""

    async def recover(self, name: str, size: int, token: Token | None) -> bool:  # noqa: ARG002
        return False

    async def sweep(self, owns: Callable[[str], bool], keep: Container[str]) -> Sequence[str]:  # noqa: ARG002
        return []

    def lock(self, run: str) -> AbstractAsyncContextManager[None]:  # noqa: ARG002
        return nullcontext()

    async def emit(self, block: bytes) -> None:
        try:
            await self._steps.run(self._emit(block))
        except BrokenPipeError as error:
            hint = "Let the program that ddbio's output is piped into read to the end."
            raise OutputClosedError("Standard output was closed by its reader.", hint=hint) from error
        except OSError as error:
            said = error.strerror or type(error).__name__
            hint = "Check what standard output is directed to."
            raise DestinationError(f"Could not write to standard output: {said}.", hint=hint) from error

    async def _emit(self, block: bytes) -> None:
        async with self._turn:
            await asyncio.get_running_loop().run_in_executor(self._executor, self._write, block)

    def _write(self, block: bytes) -> None:
        rest = memoryview(block)
        while rest:  # an unbuffered stream (python -u) may take a part
            rest = rest[self._stream.write(rest) :]
        self._stream.flush()


class StdoutFile(OutputFile):
    """One file's share of the stream."""

    def __init__(self, sink: StdoutSink, name: str) -> None:
        self.name = name
        self._sink = sink
        self._size = 0

    async def write(self, block: bytes) -> None:
        await self._sink.emit(block)
        self._size += len(block)

    async def sync(self) -> int:
        return self._size

    finish = sync

    async def seal(self) -> None:
        """Nothing to do: a stream has no names, and what was written to it can be neither removed nor recovered."""

    discard = leave = seal


class StdinSource(Source):
    """Records from a stream that belongs to the caller, as plain text: no name says that they are compressed."""

    rereadable = False
    location = "standard input"

    def __init__(self, stream: BinaryIO, *, executor: Executor) -> None:
        self._stream = stream
        self._executor = executor

    async def survey(self) -> Survey:
        return Survey([SourceFile("-", None, "", "none")], "file")

    async def manifest(self, root: str | None = None) -> bytes | None:  # noqa: ARG002 (a stream has none)
        return None

    def location_of(self, name: str) -> str:
        return name

    async def read(self, file: SourceFile, start: int = 0) -> AsyncGenerator[bytes, None]:  # noqa: ARG002 (there is one)
        refuse_start(self.location, start)
        try:
            descriptor = self._stream.fileno()
        except io.UnsupportedOperation:  # a stream in memory, which can't keep a thread waiting
            empty = True
            while chunk := await asyncio.get_running_loop().run_in_executor(self._executor, self._stream.read, CHUNK):
                empty = False
                yield chunk
            if empty:
                raise _nothing_came(self.location) from None
            return
        async for chunk in read_stream(descriptor, self.location, self._executor):
            yield chunk


def refuse_start(what: str, start: int) -> None:
    if start:
        raise SourceError(f"{what} is a stream: it can't be read from byte {start}.", hint="Start from its beginning.")


async def read_stream(descriptor: int, what: str, executor: Executor) -> AsyncGenerator[bytes, None]:
    """Everything that comes through a descriptor, until its end. Raises SourceError where nothing does.

    A thread waits for the bytes; a pipe of our own wakes it, or a silent stream would keep the process from ending.
    """
    steps = Steps()
    asleep, wake = os.pipe()
    empty = True
    try:
        while chunk := await steps.run(
            asyncio.get_running_loop().run_in_executor(executor, _next_chunk, descriptor, asleep)
        ):
            empty = False
            yield chunk
        if empty:
            raise _nothing_came(what)
    except OSError as error:
        raise SourceError(f"Could not read {what}: {error.strerror or type(error).__name__}.") from error
    finally:
        os.close(wake)
        await steps.settle()
        os.close(asleep)


def _nothing_came(what: str) -> SourceError:
    """A program that fails leaves its pipe empty, which must not pass for an import of no items."""
    hint = "See whether the program that writes to it has failed; an empty file is imported by its name."
    return SourceError(f"Nothing came through {what}.", hint=hint)


def _next_chunk(descriptor: int, asleep: int) -> bytes:
    """Wait for bytes; empty at the end of the stream, or once the other end of `asleep` is closed (blocking)."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.register(asleep, select.POLLIN)
    while True:
        ready = {number for number, _ in poll.poll()}
        if asleep in ready:
            return b""
        try:
            return os.read(descriptor, CHUNK)
        except BlockingIOError:  # another reader took the bytes
            continue
