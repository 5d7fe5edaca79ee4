"""Histories of a ledger: what the workers of an export make durable, step by step."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from ddbio.hints import NS, SS, B, S
from ddbio.ledger.entries import Commit, FileState, JournalEntry, Recovered
from ddbio.ledger.ledger import Ledger
from ddbio.ledger.positions import END, START, AfterKey, Position
from ddbio.storage.tokens import Part, UploadToken


def summary(ledger: Ledger) -> dict[str, Any]:
    """Everything that a ledger knows."""
    return {
        "splits": ledger.splits,
        "done": ledger.done.packed(),
        "files": ledger.files,
        "types": ledger.types,
        "used": ledger.used,
        "counts": (ledger.read, ledger.written, ledger.rejected, ledger.bytes),
    }


class Segment:
    """One segment of an export as its workers write it: files of pages, sealed or left, found again or gone."""

    def __init__(self, split: int) -> None:
        self.split = split
        self.page = 0
        self.number = 0
        self.seq = 0
        self.file: FileState | None = None
        self.done = False

    def step(self, what: str, size: int) -> list[JournalEntry]:
        """What becomes durable next."""
        self.seq += 1
        if self.done:
            return []
        match what:
            case "page":
                return [self._page(size)]
            case "empty":
                self.page += 1
                return [self._commit(file=self.file)]
            case "seal" if self.file is not None:
                return [self._commit(file=self._sealed())]
            case "end":
                self.done = True
                return [self._commit(END, file=self._sealed() if self.file else None, done=True)]
            case "recovered" if self.file is not None:
                return [Recovered(self.split, self._sealed())]
            case "gone" if self.file is not None:
                file, self.file = self.file, None
                self.page = _page(file.first)
                return [Recovered(self.split, file, gone=True)]
        return []

    def _page(self, size: int) -> Commit:
        before = self.file or FileState(
            f"T-{self.split}-{self.number}", self.split, self.number, after(self.page), START, 0, 0, 0, 0, sealed=False
        )
        self.page += 1
        self.number = before.number + 1
        told = before.token.parts_recorded if before.token else 0
        self.file = msgspec.structs.replace(
            before,
            last=after(self.page),
            read=before.read + size,
            items=before.items + size,
            bytes=before.bytes + size * 10,
            token=UploadToken(before.name, (Part(told, f"tag{self.page}", ""),), told),
        )
        types = {f"a{size}": [S, SS, NS, B][size % 4]}
        return self._commit(file=self.file, read=size, written=size, bytes=size * 10, types=types)

    def _sealed(self) -> FileState:
        assert self.file is not None
        file, self.file = self.file, None
        return msgspec.structs.replace(file, sealed=True, token=None)

    def _commit(self, position: Position = START, **facts: Any) -> Commit:
        return Commit(self.split, 1, self.seq, position if position == END else after(self.page), **facts)


def after(page: int) -> Position:
    """Where a segment continues after so many pages."""
    return AfterKey(str(page)) if page else START


def _page(position: Position) -> int:
    return int(position.key) if isinstance(position, AfterKey) else 0


steps = st.tuples(
    st.integers(0, 2),
    st.sampled_from(["page", "page", "page", "empty", "seal", "recovered", "gone", "end"]),
    st.integers(1, 5),
)
