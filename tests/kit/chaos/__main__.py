"""Any number of chaotic runs (see the package)."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import uvloop

from tests.kit.chaos.processes import ChaosError
from tests.kit.chaos.runs import Kind, line, run
from tests.kit.chaos.world import Servers, World
from tests.kit.servers.counting import CountingServer


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.kit.chaos", description="Kill ddbio, again and again.")
    parser.add_argument("kind", choices=("export", "import"))
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1, help="of the first run; the others count on from it")
    parser.add_argument("--parallel", type=int, default=1, help="runs at once")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no run later than this")
    return parser.parse_args(arguments)


class Batch:
    """A number of runs, some at once; one line for each on standard output, and the totals at the end."""

    def __init__(self, options: argparse.Namespace, world: World) -> None:
        self._kind: Kind = options.kind
        self._seeds = iter(range(options.seed, options.seed + options.runs))
        self._until = time.monotonic() + options.minutes * 60
        self._world = world
        self._sums: Counter[str] = Counter()
        self.failed: list[int] = []

    async def work(self) -> None:
        """Take one seed after the other."""
        for seed in self._seeds:
            if time.monotonic() > self._until:
                return
            try:
                self._add(await run(self._kind, seed, self._world))
            except ChaosError as error:
                self.failed.append(seed)
                print(f"FAILED: {error}", flush=True)

    def _add(self, told: dict[str, Any]) -> None:
        print(line(told), flush=True)
        self._sums.update({name: told[name] for name in ("attempts", "stops", "faults", "served")})
        self._sums.update({f"blows to {victim}": number for victim, number in told["blows"].items()})
        self._sums["good runs"] += 1

    def conclude(self) -> None:
        """Print the sums."""
        print(line(dict(self._sums)), f"failed: {self.failed or 'none'}", flush=True)


async def _main(options: argparse.Namespace, servers: Servers) -> bool:
    async with CountingServer() as counting:
        batch = Batch(options, World(counting, servers))
        async with asyncio.TaskGroup() as group:
            for _ in range(options.parallel):
                group.create_task(batch.work())
        batch.conclude()
        return not batch.failed


def main(arguments: Sequence[str] | None = None) -> None:
    """Run them; the exit code is 1 where one failed."""
    options = _arguments(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # no process may be left behind
    with Servers() as servers:
        good = uvloop.run(_main(options, servers))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
