"""What the ledger records: leases on splits, and what has become durable of them.

A member that is added later needs a default, so that what earlier versions wrote can still be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec

from ddbio.hints import PathTypes
from ddbio.ledger.identity import Identity
from ddbio.ledger.positions import START, AtEnd, Natural, Position
from ddbio.model import Compression
from ddbio.report import Rejection, Spending
from ddbio.storage.tokens import Token

CRC32 = Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFFFF)]
Fingerprint = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}\Z")]


class Split(msgspec.Struct, frozen=True):
    """What a worker leases: a segment (export) or a span of a file (import)."""

    id: int
    file: str = ""
    start: int = 0
    end: int | None = None
    """First byte after the span; None where it extends to the end of the file."""
    size: int | None = None
    tag: str = ""
    compression: Compression = "none"
    source: int = 0
    """The number of the source that holds the file. A source is begun once all splits of the one before are done."""


class SplitState(msgspec.Struct, frozen=True):
    """How far one split is: what a new lease on it begins with."""

    position: Position = START
    number: Natural = 0
    """The number of its next output file."""
    finished: bool = False
    open_file: str | None = None
    """The file of its last commit, if that is not sealed."""

    @property
    def done(self) -> bool:
        return self.finished or (isinstance(self.position, AtEnd) and self.open_file is None)


class Lease(msgspec.Struct, frozen=True):
    """The right to work on a split; commits carry its epoch, and an older epoch's are ignored."""

    split: Split
    epoch: int
    position: Position = START
    number: int = 0


class FileState(msgspec.Struct, frozen=True):
    """What is durable of one output file: its first `bytes` bytes, as stored (compressed, where it is)."""

    name: str
    segment: Natural
    number: Natural
    first: Position
    last: Position
    read: Natural
    """Sum of `Count` over the replies whose items are in it."""
    items: Natural
    """Items counted in the bytes written."""
    bytes: Natural
    crc32: CRC32
    sealed: bool
    fingerprint: Fingerprint | None = None
    """The sum of its items' fingerprints in 16 hexadecimal digits (`ddbio.codec.fingerprint`); None: not computed."""
    token: Token | None = None
    """What another process needs to seal the file; None once it is sealed. In a commit, an upload's token holds only
    the parts that are new since the file's earlier commits."""


class Reject(msgspec.Struct, frozen=True):
    """One record that can't be written, as the rejects file keeps it."""

    source: str
    offset: int
    length: int
    line: int | None
    """Counted from 1; None unless the worker read the file from its start."""
    reason: str
    message: str
    raw: bytes | None
    """None where the record is longer than 1 MiB: it can be read again by its offset."""


def by_reason(rejects: Iterable[Reject]) -> dict[str, Rejection]:
    found: dict[str, Rejection] = {}
    for each in rejects:
        one = Rejection(count=1, source=each.source, offset=each.offset, line=each.line, message=each.message)
        add_up(found, {each.reason: one})
    return found


def add_up(total: dict[str, Rejection], more: Mapping[str, Rejection]) -> None:
    for reason, found in more.items():
        total[reason] = total[reason] + found if reason in total else found


class Commit(msgspec.Struct, frozen=True, tag="commit"):
    """A step of one split that has become durable; the counts are since the split's last commit."""

    split: Natural
    epoch: Natural
    seq: Natural
    position: Position
    """Everything before it is settled."""
    done: bool = False
    file: FileState | None = None
    read: Natural = 0
    """Export: sum of `Count` over the replies. Import: records found."""
    written: Natural = 0
    """Export: items counted in the bytes written. Import: records that the service acknowledged."""
    bytes: Natural = 0
    """Export: bytes written. Import: bytes read."""
    rejected: Natural = 0
    rejects: tuple[Reject, ...] = ()
    """They go into the rejects file, not into the journal."""
    types: dict[str, Natural] = {}
    """Type masks by attribute path (`ddbio.hints`)."""
    reasons: dict[str, Rejection] = {}
    """The rejects by the code of their reason; these go into the journal."""

    @property
    def carried_bytes(self) -> int:
        """The size of what the commit carries besides its facts."""
        return sum(len(reject.raw or b"") for reject in self.rejects)


class Recovered(msgspec.Struct, frozen=True, tag="recovered"):
    """A file that its writer left: sealed at its last commit, or gone (then its split goes back to `first`)."""

    split: Natural
    file: FileState
    gone: bool = False


class Used(msgspec.Struct, frozen=True, tag="used"):
    """What one run of the job has used since it began; the latest of a run counts."""

    run: str = ""
    spending: Spending = Spending()


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """The first entry of a journal: which job this is, and its splits."""

    run: str
    identity: Identity
    segments: int
    splits: tuple[Split, ...] = ()
    """An import's spans; an export's splits are its segments."""


class Compacted(msgspec.Struct, frozen=True, tag="compacted"):
    """The state of the job, in place of all entries before it; the known splits and files follow."""

    done: bytes
    """The splits that are done (`ddbio.ledger.numbers`)."""
    read: Natural
    written: Natural
    rejected: Natural
    size: Natural
    types: PathTypes
    used: tuple[Used, ...]
    reasons: dict[str, Rejection] = {}


class KnownSplit(msgspec.Struct, frozen=True, tag="split"):
    split: Natural
    state: SplitState


class KnownFile(msgspec.Struct, frozen=True, tag="file"):
    """An output file when the journal was compacted; one that is not sealed has its whole token."""

    file: FileState


JournalEntry = Opened | Commit | Recovered | Used | Compacted | KnownSplit | KnownFile
