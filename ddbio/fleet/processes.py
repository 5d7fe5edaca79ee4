"""The carrier of processes: one worker and one Unix socket each. The end of the socket is the end of its leases."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from ddbio.errors import WorkerLostError
from ddbio.fleet import frames
from ddbio.fleet.carrier import fill_slots
from ddbio.fleet.desk import Desk
from ddbio.fleet.protocol import Grant, Report, Welcome
from ddbio.fleet.tuning import EXIT_SECONDS, STOP_SECONDS
from ddbio.pipeline.job import Job
from ddbio.wire.signing import Credentials


@dataclass(frozen=True, kw_only=True)
class Processes:
    """A `Carrier` of worker processes, which keep the descriptors `inherited` open."""

    workers: int
    inherited: Sequence[int] = ()
    in_this_process: bool = False
    _writers: set[asyncio.StreamWriter] = field(default_factory=set, init=False)

    async def carry(self, job: Job, desk: Desk, credentials: Credentials) -> None:
        """Run `job` to its end.

        When this is cancelled, the workers are asked to stop, and killed after `STOP_SECONDS`.
        """
        serve = partial(self._serve, desk)
        serving = asyncio.ensure_future(fill_slots(job, desk, credentials, self.workers, serve))
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            desk.coordinator.abort()
            for writer in self._writers:  # without waiting for the next Reports
                frames.post(writer, Grant(rate=0.0, stop="abort"))
            await asyncio.wait([serving], timeout=STOP_SECONDS)
            raise
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            serving.cancel()
            await asyncio.wait([serving])

    async def _serve(self, desk: Desk, welcome: Welcome) -> WorkerLostError | None:
        """Start one worker and answer its Reports; how it was lost, if it ended before its last one."""
        async with _worker_process(self.inherited) as (process, reader, writer):
            self._writers.add(writer)
            try:
                with suppress(ConnectionError):
                    await frames.send(writer, welcome)
                if await _answer_all(desk, reader, writer):
                    return None  # it has closed everything: nobody waits for its interpreter to be torn down
            finally:
                self._writers.discard(writer)
            return _lost(welcome.worker, await _end(process))


async def _answer_all(desk: Desk, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Answer a worker's Reports until there are no more; returns whether the last one said that it was."""
    while (report := await frames.receive(reader, Report)) is not None:
        grant = await desk.answer(report)
        with suppress(ConnectionError):
            await frames.send(writer, grant)
        if report.stopped:
            return True
    return False


async def _end(process: asyncio.subprocess.Process) -> int:
    """The exit status of a worker whose socket has ended; one that does not exit by itself is killed."""
    try:
        async with asyncio.timeout(EXIT_SECONDS):
            return await process.wait()
    except TimeoutError:
        process.kill()
        return await process.wait()


def _lost(number: int, status: int) -> WorkerLostError:
    how = f"was killed by {_signal_name(-status)}" if status < 0 else f"ended with status {status}"
    return WorkerLostError(
        f"Worker process {number} {how} before its work was done.",
        hint="If the system ran out of memory, use fewer --processes or a smaller --concurrency.",
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


@asynccontextmanager
async def _worker_process(
    inherited: Sequence[int],
) -> AsyncIterator[tuple[asyncio.subprocess.Process, asyncio.StreamReader, asyncio.StreamWriter]]:
    ours, theirs = socket.socketpair()
    with theirs, ExitStack() as unused:
        unused.enter_context(ours)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "ddbio.fleet.worker_process", str(theirs.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno(), *inherited],
                start_new_session=True,  # Ctrl-C is for the parent, which asks its workers to stop
            )
        except OSError as error:
            raise WorkerLostError(
                f"A worker process could not be started: {error.strerror}.", hint="Use fewer --processes."
            ) from error
        unused.pop_all()
    reader, writer = await asyncio.open_connection(sock=ours)
    try:
        yield process, reader, writer
    finally:
        writer.close()
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
