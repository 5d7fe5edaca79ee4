"""Background tasks, and the first failure among them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from ddbio.errors import JobFailedError


class Tasks:
    """Runs coroutines in tasks of their own; `on_failure` is called once one has failed.

    Not a TaskGroup, since an application may enter a writer in one task and use it in others.
    """

    def __init__(self, on_failure: Callable[[], None]) -> None:
        self._on_failure = on_failure
        self._tasks: set[asyncio.Task[None]] = set()
        self.failure: BaseException | None = None
        """The first failure."""

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def raise_failure(self) -> None:
        if self.failure is not None:
            raise self.failure

    async def cancel(self) -> BaseException | None:
        """Cancel all tasks and wait for them; return the first failure before that."""
        failure, self.failure = self.failure, self.failure or JobFailedError("The writer was left before the end.")
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        return failure

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()  # retrieved, so that asyncio does not log it
        self.failure = self.failure or error
        if self.failure is not None:
            self._on_failure()
