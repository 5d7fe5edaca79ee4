"""The job's ledger: takes commits in, keeps rejects durable, counts, and judges whether the counts agree."""

from __future__ import annotations

from collections.abc import Iterable

from ddbio.codec.hints import LOSSY, PathTypes
from ddbio.errors import LedgerError
from ddbio.ledger.entries import Commit, FileState
from ddbio.ledger.rejects import RejectsFile


class Ledger:
    """What has become durable in one job. `rejects` is where rejected records go (None: there can't be any)."""

    def __init__(self, rejects: RejectsFile | None = None) -> None:
        self._rejects = rejects
        self.files: dict[str, FileState] = {}
        self.types = PathTypes()
        self.read = 0
        self.written = 0
        self.rejected = 0
        self.bytes = 0

    @property
    def rejects_location(self) -> str | None:
        """Where the rejected records are; None if there was none."""
        return str(self._rejects.path) if self._rejects is not None and self.rejected else None

    async def record(self, commits: Iterable[Commit]) -> list[str]:
        """Take commits in, in order; what they say is durable when this returns.

        Returns the attribute paths that are found, now for the first time, to hold a type that plain JSON loses.
        """
        news: list[str] = []
        for commit in commits:
            if commit.rejects and self._rejects is not None:
                await self._rejects.add(commit.rejects)
            self.rejected += len(commit.rejects)
            self.read += commit.read
            self.written += commit.written
            self.bytes += commit.bytes
            if commit.file is not None:
                self.files[commit.file.name] = commit.file
            news += self._merge_types(commit.types)
        return news

    def check(self) -> None:
        """The ledger law: every record read is written or rejected, and in a file that is sealed.

        Raises LedgerError with the counts where they differ.
        """
        if self.read != self.written + self.rejected:
            raise LedgerError(
                f"Read {self.read:,} records, but wrote {self.written:,} and rejected {self.rejected:,}.",
                hint="Do not trust the result; please report this.",
            )
        unsealed = [name for name, file in self.files.items() if not file.sealed]
        if unsealed:
            raise LedgerError(f"{len(unsealed)} files were not finished, {unsealed[0]} among them.")
        in_files = sum(file.items for file in self.files.values())
        if self.files and in_files != self.written:
            raise LedgerError(f"Wrote {self.written:,} items, but the files hold {in_files:,}.")

    def _merge_types(self, types: dict[str, int]) -> list[str]:
        known = self.types.masks
        before = {path for path in types if known.get(path, 0) & LOSSY}
        return [path for path in self.types.merge(types) if path not in before]
