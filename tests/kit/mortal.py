"""A sink in memory whose process ends at any operation that a test chooses."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

from tests.kit.fakes import MemoryFile, MemorySink


class Killed(BaseException):
    """The process ends here."""


class Mortal(MemorySink):
    """Its process ends at its `left`-th operation, before or (`behind`) after it. Deletions come in any order."""

    def __init__(self, left: float = float("inf"), *, behind: bool = False, seed: int = 0) -> None:
        super().__init__()
        self.left = left
        self.behind = behind
        self.dead = False
        self._rng = random.Random(seed)

    def step(self, change: Callable[[], Any]) -> None:
        self.left -= 1
        if self.dead:
            raise Killed
        if self.left >= 0:
            change()
            return
        self.dead = True
        if self.behind:
            change()
        raise Killed

    async def put(self, name: str, data: bytes) -> None:
        self.step(lambda: self.small.update({name: data}))
        await asyncio.sleep(0)

    async def create(self, name: str, *, max_bytes: int) -> MemoryFile:
        self.step(lambda: None)
        return MortalFile(self, name)

    async def delete(self, *names: str) -> None:
        for name in self._rng.sample(names, len(names)):
            await asyncio.sleep(0)
            self.step(lambda name=name: (self.small.pop(name, None), self.sealed.pop(name, None)))  # type: ignore[misc]

    def revived(self, left: float = float("inf"), **more: Any) -> Mortal:
        """What the next process finds."""
        again = Mortal(left, **more)
        again.small, again.sealed = dict(self.small), dict(self.sealed)
        return again


class MortalFile(MemoryFile):
    """A file of a Mortal."""

    def __init__(self, sink: Mortal, name: str) -> None:
        super().__init__(sink, name)
        self._mortal = sink

    async def write(self, block: bytes) -> None:
        await asyncio.sleep(0)
        self._mortal.step(lambda: None)
        self.data += block

    async def seal(self) -> None:
        await asyncio.sleep(0)
        self._mortal.step(lambda: self._mortal.sealed.update({self.name: self.data}))


async def mortal(work: Coroutine[Any, Any, None]) -> bool:
    """Do some work, and end all tasks that it has left. Returns whether the process has survived it."""
    before = asyncio.all_tasks()
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # that a task has ended so is no news here
    try:
        await work
    except Killed:
        return False
    finally:
        for task in asyncio.all_tasks() - before:
            task.cancel()
        await asyncio.gather(*(asyncio.all_tasks() - before), return_exceptions=True)
    return True
