"""The words of the ledger: what is worked on, and what has become durable of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec

from ddbio.hints import PathTypes
from ddbio.model import KeyType
from ddbio.report import Rejection, Spending

Natural = Annotated[int, msgspec.Meta(ge=0)]
CRC32 = Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFFFF)]
Fingerprint = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}\Z")]

Packed = bytes
"""`Commit` has a member named `bytes`."""

END = "end"
"""The position of an export's split behind its last page; every other one is "" or a JSON object."""


class Split(msgspec.Struct, frozen=True):
    """A piece of work that one worker holds at a time: a segment (export) or a span of a file (import)."""

    id: int
    file: str = ""
    start: int = 0
    """First byte of the span."""
    end: int | None = None
    """First byte that is not the span's; None: to the end of the file."""
    size: int | None = None
    tag: str = ""
    compression: Literal["none", "gzip", "zstd"] = "none"
    source: int = 0
    """Import: the number of the source that the file is of. All of one source is done before the next one is begun."""


class SplitState(msgspec.Struct, frozen=True):
    """How far one split is: what a new lease on it begins with."""

    position: str = ""
    number: Natural = 0
    finished: bool = False
    open_file: str | None = None
    """The file of its last commit, if that is not sealed."""

    @property
    def done(self) -> bool:
        """Nothing is left to do: read to its end, and its last file sealed."""
        return self.finished or (self.position == END and self.open_file is None)


class Lease(msgspec.Struct, frozen=True):
    """The right to work on a split; commits carry its epoch, and an older epoch's are ignored."""

    split: Split
    epoch: int
    position: str = ""
    """Where to go on: a LastEvaluatedKey as JSON, or an offset; "" at the split's beginning."""
    number: int = 0
    """The number of the split's next output file."""


class FileState(msgspec.Struct, frozen=True):
    """What is durable of one output file: everything up to `bytes`, as written (compressed, if it is)."""

    name: str
    segment: Natural
    number: Natural
    first: str
    """The position behind which the file's first item lies; "" at the segment's beginning."""
    last: str
    """The position behind the file's last item."""
    read: Natural
    """Σ `Count` of the replies whose items are in it."""
    items: Natural
    """Items counted in the bytes written."""
    bytes: Natural
    crc32: CRC32
    sealed: bool
    fingerprint: Fingerprint | None = None
    """The sum of its items' fingerprints in 16 hexadecimal digits (`ddbio.codec.fingerprint`); None: not computed."""
    token: dict[str, Any] | None = None
    """What another process needs to seal the file (`OutputFile.resume_token`); None once it is sealed. In a commit, its
    parts are only those that the file's earlier commits have not told (`ddbio.ledger.tokens`)."""


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
    """None where the record is longer than 1 MiB: read it again by its offset."""


def by_reason(rejects: Iterable[Reject]) -> dict[str, Rejection]:
    """The rejects by the code of their reason."""
    found: dict[str, Rejection] = {}
    for each in rejects:
        one = Rejection(count=1, source=each.source, offset=each.offset, line=each.line, message=each.message)
        add_up(found, {each.reason: one})
    return found


def add_up(total: dict[str, Rejection], more: Mapping[str, Rejection]) -> None:
    """Add rejects to others, by reason."""
    for reason, found in more.items():
        total[reason] = total[reason] + found if reason in total else found


class Commit(msgspec.Struct, frozen=True, tag="commit"):
    """A step of one split that has become durable; the counts are since the split's last commit."""

    split: Natural
    epoch: Natural
    seq: Natural
    """1, 2, 3 … within one lease."""
    position: str
    """How far the split is done: the LastEvaluatedKey as JSON, "" or `END`; for an import an offset in the file."""
    done: bool = False
    file: FileState | None = None
    """Export: what is durable of the file now, from its first byte."""
    read: Natural = 0
    """Export: Σ `Count` of the replies. Import: records found. Up to `position`."""
    written: Natural = 0
    """Export: items counted in the bytes written. Import: records that the service acknowledged."""
    bytes: Natural = 0
    """Export: bytes written. Import: bytes read."""
    rejected: Natural = 0
    rejects: tuple[Reject, ...] = ()
    """The rejected records themselves; they go into the rejects file, not into the journal."""
    types: dict[str, Natural] = {}
    """Type masks by attribute path (`ddbio.hints`)."""
    reasons: dict[str, Rejection] = {}
    """The same rejects by the code of their reason; these stay in the journal."""
    found: Packed = b""
    """Verification, which has no journal: what was found (`ddbio.audit.findings`)."""


class Recovered(msgspec.Struct, frozen=True, tag="recovered"):
    """A file that was left behind: sealed at its last commit, or gone (then its split goes back to `first`)."""

    split: Natural
    file: FileState
    gone: bool = False


class Used(msgspec.Struct, frozen=True, tag="used"):
    """What one run of the job has used since it began; the latest of a run counts."""

    run: str = ""
    spending: Spending = Spending()


class Identity(msgspec.Struct, frozen=True):
    """What makes two runs the same job. Capacity, processes and concurrency may differ."""

    command: Literal["export", "import"]
    account: str
    region: str
    table: str
    table_id: str
    keys: tuple[tuple[str, KeyType], ...]
    place: str
    """The destination of an export, the sources of an import."""
    what: dict[str, Any]
    """Further options that shape the result, by name."""


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """The first entry of a journal: which job this is, and its splits."""

    run: str
    identity: Identity
    segments: int
    splits: tuple[Split, ...] = ()
    """An import's spans; an export's splits are its segments."""


class Compacted(msgspec.Struct, frozen=True, tag="compacted"):
    """The job so far, in the place of all entries before it: a whole ledger, with the known splits and files behind it.

    A member that is added later needs a default: that of a ledger which has not seen any of it.
    """

    done: bytes
    """The splits that are done (`ddbio.ledger.numbers`)."""
    read: Natural
    written: Natural
    rejected: Natural
    size: Natural
    """`bytes` of all commits."""
    types: PathTypes
    used: tuple[Used, ...]
    reasons: dict[str, Rejection] = {}


class KnownSplit(msgspec.Struct, frozen=True, tag="split"):
    """A split that was begun and is not done, as it was when the journal was compacted."""

    split: Natural
    state: SplitState


class KnownFile(msgspec.Struct, frozen=True, tag="file"):
    """An output file, as it was when the journal was compacted: with the whole of its token, if it is not sealed."""

    file: FileState


JournalEntry = Opened | Commit | Recovered | Used | Compacted | KnownSplit | KnownFile
