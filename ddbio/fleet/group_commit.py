"""Group commit: the commits of all workers become durable together, in one chunk of the journal at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ddbio.clock import Clock
from ddbio.errors import DdbioError
from ddbio.events import Observer, Warned
from ddbio.fleet.coordinator import Coordinator
from ddbio.ledger.entries import Commit, Used
from ddbio.ledger.ledger import Ledger


@dataclass
class GroupCommit:
    """Writes accepted commits to the ledger; an error there stops the job.

    A chunk begins when a commit is urgent, or `interval` seconds after the last one began. Each chunk also records what
    this run has `used` so far.
    """

    coordinator: Coordinator
    ledger: Ledger
    used: Callable[[], Used]
    clock: Clock
    observer: Observer
    interval: float

    def __post_init__(self) -> None:
        self._begun_at = self.clock.now()
        self._writing: asyncio.Task[None] | None = None

    def take(self, commits: Iterable[Commit], *, urgent: bool) -> None:
        """Take accepted commits in, and begin a chunk where it is time for one."""
        self.ledger.take(commits)
        if urgent or self.clock.now() - self._begun_at >= self.interval:
            self._write()

    async def make_durable(self, commits: Iterable[Commit]) -> None:
        """Wait until these commits are durable, or the job has failed."""
        await asyncio.shield(self._write())
        while self.coordinator.failure is None and not all(map(self.ledger.settled, commits)):
            await asyncio.shield(self._write())  # the previous chunk may have begun without them

    async def begin_next_source(self) -> None:
        """Make the end of a source durable first: otherwise a run that resumes could write its lines once more."""
        while self.coordinator.failure is None and self.coordinator.leases.between_sources:
            await asyncio.shield(self._write())
            if self.ledger.all_durable:
                self.coordinator.begin_next_source()

    async def finish(self) -> None:
        """Wait for the chunk that is being written, if there is one."""
        if self._writing is not None:
            await asyncio.shield(self._writing)

    def _write(self) -> asyncio.Task[None]:
        """Return the chunk that is being written; begin one where there is none."""
        if self._writing is not None and self._writing.done():
            self._writing.result()
            self._writing = None
        if self._writing is None:
            self._begun_at = self.clock.now()
            self._writing = asyncio.create_task(self._write_chunk())
        return self._writing

    async def _write_chunk(self) -> None:
        self.ledger.take([self.used()])
        try:
            found = await self.ledger.write()
        except DdbioError as error:
            self.coordinator.abort(error)
            return
        for path in found:
            self.observer(
                Warned(
                    f"Attribute {path} holds sets or binary, which plain JSON does not keep apart: "
                    "use --format dynamodb-json, or import with the manifest beside the files."
                )
            )
