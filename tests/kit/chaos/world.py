"""The servers of all runs, and the stage of one: a table or a bucket, paced, behind fault proxies."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from tests.kit.chaos.relay import Changing, Pace, as_s3
from tests.kit.faults.credentials import KeyRing
from tests.kit.faults.proxy import FaultProxy
from tests.kit.faults.schedule import Schedule
from tests.kit.servers.aws import Server
from tests.kit.servers.counting import CountingServer
from tests.kit.servers.dynalite import find_dynalite, run_dynalite
from tests.kit.servers.moto import run_moto
from tests.kit.servers.seaweed import find_weed, run_seaweed

Tables = Literal["counting", "moto", "dynalite"]
Place = Literal["folder", "moto", "seaweed"]


class Servers:
    """moto, dynalite and SeaweedFS by their names, each started when it is first asked for."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._running: dict[str, Server] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def __call__(self, name: str) -> Server:
        """Raises LookupError where the program is not installed."""
        if name not in self._running:
            self._running[name] = self._start(name)
        return self._running[name]

    def _start(self, name: str) -> Server:
        if name == "moto":
            server = self._stack.enter_context(run_moto())
            # It tells at length of each upload that it does not know (see `relay.as_s3`).
            logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
            return server
        executable = find_dynalite() if name == "dynalite" else find_weed()
        if executable is None:
            raise LookupError(f"{name} is not installed")
        if name == "dynalite":
            return self._stack.enter_context(run_dynalite(executable))
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="ddbio-chaos-seaweed-"))
        return self._stack.enter_context(run_seaweed(executable, Path(folder)))


@dataclass(frozen=True)
class World:
    """Where the runs take place: a counting server of this event loop, and what else they need, by name."""

    counting: CountingServer
    find: Callable[[str], Server]

    async def server(self, name: str) -> Server:
        """One of them, to be talked to directly."""
        if name == "counting":
            return Server("counting", self.counting.url)
        return await asyncio.to_thread(self.find, name)


@dataclass(frozen=True)
class Stage:
    """One run's surroundings: `environment` leads ddbio to the proxies, `proxy` is the one before the table."""

    proxy: FaultProxy
    pace: Pace
    environment: Mapping[str, str]


@asynccontextmanager
async def staged(
    tables: Server,
    pace: Pace,
    schedule: Schedule,
    s3: Server | None = None,
    s3_schedule: Schedule | None = None,
    keys: KeyRing | None = None,
) -> AsyncIterator[Stage]:
    """Set the proxies and what stands behind them up."""
    async with AsyncExitStack() as stack:
        relay = await stack.enter_async_context(Changing(tables.url, pace))
        proxy = await stack.enter_async_context(FaultProxy(relay.url, schedule, keys=keys))
        environment = {
            **tables.environment(),
            "AWS_ENDPOINT_URL": proxy.url,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        if s3 is not None:
            clock = await stack.enter_async_context(Changing(s3.url, as_s3))
            s3_proxy = await stack.enter_async_context(
                FaultProxy(clock.url, s3_schedule, access_key=s3.access_key, secret_key=s3.secret_key)
            )
            environment |= {"AWS_ENDPOINT_URL_S3": s3_proxy.url}
        yield Stage(proxy, pace, environment)
