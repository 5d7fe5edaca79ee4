"""The fleet of processes: one worker each, one Unix socket each. The end of the socket is the end of the lease."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from itertools import count

from ddbio.errors import WorkerLostError
from ddbio.fleet import frames
from ddbio.fleet.desk import Desk
from ddbio.fleet.protocol import Grant, Report, Welcome
from ddbio.fleet.tuning import EXIT_SECONDS, STOP_SECONDS
from ddbio.pipeline.job import Job
from ddbio.wire.signing import Credentials


async def run_processes(
    job: Job, desk: Desk, credentials: Credentials, processes: int, inherited: Sequence[int] = ()
) -> None:
    """Run `job` to its end in `processes` workers; the desk knows whether it failed.

    Workers keep the descriptors `inherited` open. When this is cancelled, they are told to stop, and killed after
    `STOP_SECONDS`.
    """
    fleet = _Fleet(job, desk, credentials, inherited)
    serving = asyncio.ensure_future(fleet.serve(processes))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        desk.abort()
        fleet.stop()
        await asyncio.wait([serving], timeout=STOP_SECONDS)
        raise
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    finally:
        serving.cancel()
        await asyncio.wait([serving])


class _Fleet:
    """The workers of one job, and the way to them."""

    def __init__(self, job: Job, desk: Desk, credentials: Credentials, inherited: Sequence[int]) -> None:
        self._job = job
        self._desk = desk
        self._credentials = credentials
        self._inherited = inherited
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self, processes: int) -> None:
        """Keep so many workers at work until the job is done or fails."""
        async with asyncio.TaskGroup() as group:
            for number in range(processes):
                group.create_task(self._keep_serving(number))

    def stop(self) -> None:
        """Tell every worker to stop, without being asked."""
        for writer in self._writers:
            frames.post(writer, Grant(rate=0.0, stop="abort"))

    async def _keep_serving(self, number: int) -> None:
        """Keep a worker in this slot: one that dies is replaced, until the desk says that it is enough."""
        credentials = self._credentials
        for attempt in count():
            run = f"{self._job.run}-{number}-{attempt}"
            status = await self._serve(Welcome(worker=number, run=run, job=self._job, credentials=credentials))
            if status is None or not await self._desk.lost(number, _lost(number, status)):
                return
            credentials = await self._desk.credentials() or credentials

    async def _serve(self, welcome: Welcome) -> int | None:
        """Start one worker and answer its Reports; None after its last one, its exit status where it died before."""
        async with _worker_process(self._inherited) as (process, reader, writer):
            self._writers.add(writer)
            try:
                with suppress(ConnectionError):
                    await frames.send(writer, welcome)
                if await _answer_all(self._desk, reader, writer):
                    return None  # it has closed everything: nobody waits for its interpreter to be torn down
            finally:
                self._writers.discard(writer)
            return await _end(process)


async def _answer_all(desk: Desk, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Answer a worker's Reports until there are no more; whether the last one said so."""
    while (report := await frames.receive(reader, Report)) is not None:
        grant = await desk.answer(report)
        with suppress(ConnectionError):
            await frames.send(writer, grant)
        if report.stopped:
            return True
    return False


async def _end(process: asyncio.subprocess.Process) -> int:
    """The exit status of a worker whose socket has ended; one that does not end by itself is killed."""
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
                *("-m", "ddbio.fleet.worker", str(theirs.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno(), *inherited],
                start_new_session=True,  # Ctrl-C is for the parent, which tells its workers to stop
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
