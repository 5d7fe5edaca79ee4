"""`ddbio` as processes that are killed: start, blows, end, and who is left."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.kit.chaos.relay import Pace
from tests.kit.command import gone

HANG_SECONDS = 120.0
"""An attempt that takes longer hangs."""
END_SECONDS = 30.0
"""Within this time workers end after their parent, and a job after Ctrl-C, even on a busy machine."""
DUMP_SECONDS = 3.0
MARK = "DDBIO_CHAOS_RUN"
ROOT = Path(__file__).parents[3]
STACKS = Path(__file__).with_name("stacks")

Victim = Literal["worker", "parent", "everybody", "interrupt"]


class ChaosError(Exception):
    """A run did not end as it must."""


@dataclass(frozen=True)
class Blow:
    """Strike `victim` after this number of further requests (0: at once) and then `seconds`."""

    victim: Victim
    requests: int
    seconds: float


@dataclass(frozen=True)
class Ended:
    """How one attempt ended: its exit code, the blows that landed, what it told."""

    code: int
    landed: tuple[Victim, ...]
    out: str
    err: str


class Attempts:
    """Runs one command again and again; `folder` keeps what each attempt tells."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path, pace: Pace) -> None:
        self._command = command
        self._mark = f"{MARK}={os.getpid()}-{folder.name}"
        path = os.pathsep.join([str(STACKS), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        name, _, value = self._mark.partition("=")
        own = {key: text for key, text in os.environ.items() if not key.startswith("AWS_")}
        self._environment = {**own, "PYTHONPATH": path, name: value, **environment}
        self._folder = folder
        self._pace = pace
        self.ended: list[Ended] = []

    @property
    def disturbances(self) -> int:
        """How often work was interrupted: blows that landed, and jobs that stopped by themselves."""
        return sum(len(each.landed) + (each.code == 1) for each in self.ended)

    async def run(self, blows: Iterable[Blow]) -> Ended:
        """One attempt. Raises ChaosError where it hangs, or leaves processes behind."""
        number = len(self.ended)
        out, err = (self._folder / f"attempt-{number}.{name}" for name in ("out", "err"))
        with out.open("wb") as to_out, err.open("wb") as to_err:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "ddbio", *self._command),
                env=self._environment,
                cwd=self._folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=to_out,
                stderr=to_err,
            )
        ending = asyncio.create_task(process.wait())
        try:
            async with asyncio.timeout(HANG_SECONDS):
                landed = [blow.victim for blow in blows if await self._strike(blow, process, ending)]
                code = await ending
        except TimeoutError:
            await self._dump()
            raise ChaosError(f"attempt {number} hung for {HANG_SECONDS:.0f} seconds; its stacks are in {err}") from None
        finally:
            await self._clear(process)
        ended = Ended(code, tuple(landed), out.read_text(), err.read_text())
        self.ended.append(ended)
        return ended

    async def _strike(self, blow: Blow, process: Process, ending: asyncio.Task[int]) -> bool:
        """Wait for the moment and strike; False where the job ended before, or there was nobody to strike."""
        moment = asyncio.create_task(self._moment(blow))
        await asyncio.wait([moment, ending], return_when=asyncio.FIRST_COMPLETED)
        moment.cancel()
        if ending.done():
            return False
        workers = [pid for pid, command in self._alive().items() if "ddbio.fleet.worker_process" in command]
        victims: dict[Victim, list[int]] = {
            "worker": workers[:: 2 if blow.requests % 2 else -1][:1],
            "parent": [process.pid],
            "everybody": [process.pid, *workers],
            "interrupt": [process.pid],
        }
        for pid in victims[blow.victim]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT if blow.victim == "interrupt" else signal.SIGKILL)
        self._pace.drop()
        if blow.victim != "worker":
            await self._all_end(blow.victim)
        return bool(victims[blow.victim])

    async def _moment(self, blow: Blow) -> None:
        if blow.requests:
            await self._pace.after(blow.requests).wait()
        await asyncio.sleep(blow.seconds)

    async def _all_end(self, victim: Victim) -> None:
        """Raises ChaosError where somebody outlives the blow."""
        try:
            async with asyncio.timeout(END_SECONDS):
                while alive := self._alive():
                    await asyncio.gather(*map(gone, alive))
        except TimeoutError:
            await self._dump()
            raise ChaosError(
                f"attempt {len(self.ended)}: {END_SECONDS:.0f} seconds after the blow ({victim}) there are still "
                f"{self._alive()}"
            ) from None

    async def _clear(self, process: Process) -> None:
        """Nobody may be left; after a failure they are killed."""
        failed = sys.exc_info()[0] is not None
        left = self._alive()
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if failed:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        elif left:
            raise ChaosError(f"processes were left behind: {left}")

    async def _dump(self) -> None:
        """Have everybody tell where they are, in their standard error."""
        for pid in self._alive():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGUSR1)
        await asyncio.sleep(DUMP_SECONDS)

    def _alive(self) -> dict[int, str]:
        """The processes of this run (their ids, their command lines), whoever started them."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if self._mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found
