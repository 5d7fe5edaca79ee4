"""The entry point of a worker process: `python -m ddbio.fleet.worker_process SOCKET`, started by `Processes`."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys

from ddbio.clock import LoopClock
from ddbio.fleet import frames
from ddbio.fleet.engine import open_engine
from ddbio.fleet.protocol import Grant, Report, Welcome
from ddbio.fleet.worker import Worker
from ddbio.runtime import run
from ddbio.visible import log_visibly


async def serve(socket_number: int) -> None:
    """Work on the job that arrives over an inherited socket; the end of the socket is the end of this process."""
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=socket_number))
    welcome = await frames.receive(reader, Welcome)
    if welcome is None:
        return
    grants: asyncio.Queue[Grant] = asyncio.Queue()

    async def listen() -> None:
        while (grant := await frames.receive(reader, Grant)) is not None:
            grants.put_nowait(grant)
            if grant.stop == "abort":  # it may come unasked for, and then answers the next Report
                worker.report_now()
        # The parent is gone. Nothing may be renamed, sealed or removed any more: another run may have begun already.
        os._exit(1)

    async def exchange(report: Report) -> Grant:
        await frames.send(writer, report)
        return await grants.get()

    worker = Worker(welcome, exchange, LoopClock(), open_engine)
    listening = asyncio.create_task(listen())
    await worker.run()
    listening.cancel()
    writer.close()


if __name__ == "__main__":
    if hasattr(signal, "SIGUSR1"):  # Windows has none. The signal is for the parent, but `pkill` sends it to everybody.
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    log_visibly()
    run(serve(int(sys.argv[1])))
