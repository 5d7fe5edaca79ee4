"""The storage contract: where an export's files go, and where an import's records come from.

One suite of tests runs over every implementation. Errors of the backend become `DestinationError` or `SourceError`,
which say what was tried and where.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping
from typing import NamedTuple

from ddbio.codec.model import Compression

OWN_FOLDER = "_ddbio"
"""Everything of ddbio's own lives under this name; query engines skip names that start with `_`."""
MANIFEST = f"{OWN_FOLDER}/manifest.json"
"""Where an export's manifest lies, relative to its root."""


class StoredFile(NamedTuple):
    """A file that is there: its name relative to the root (`/` between folders), and its size in bytes."""

    name: str
    size: int


class OutputFile(ABC):
    """One file that is being written. It is invisible under its final name until `seal`.

    Blocks are written whole and in order, by one caller at a time. What is durable always ends at the end of a block.
    After a call that failed or was cancelled, the only call left is `discard`; a sink that is left discards every
    file that is not sealed. Every method raises `DestinationError`.
    """

    name: str

    @property
    def resume_token(self) -> Mapping[str, object] | None:
        """What another process needs, besides the name, to seal what `sync` called durable (JSON values), or None."""
        return None

    @abstractmethod
    async def write(self, block: bytes) -> None:
        """Append one block (a page's worth, already compressed). Waits while too much is still on its way out."""

    @abstractmethod
    async def sync(self) -> int:
        """Make what can be durable so; return the offset up to which every byte is durable (never decreasing).

        After `finish` it is the file's size.

        A local file is flushed whole. An S3 upload answers with the end of its last contiguous stored part, without
        waiting for the parts on their way.
        """

    @abstractmethod
    async def finish(self) -> int:
        """No more blocks will come: make everything durable, under no final name yet; return the file's size.

        A file without a block is allowed. Idempotent.
        """

    @abstractmethod
    async def seal(self) -> None:
        """Finish, and give the file its final name, replacing an older file of that name. Idempotent."""

    @abstractmethod
    async def discard(self) -> None:
        """Remove every trace of the file (aborting an upload). Safe at any moment, also after `seal` (then a no-op)."""


class Sink(ABC):
    """A place for an export's files. An async context manager: leaving it discards every file that is not sealed.

    Names are relative, with `/` between folders; folders are made as needed.
    """

    @property
    @abstractmethod
    def location(self) -> str:
        """What a person calls this place: the folder or the `s3://` URL."""

    @abstractmethod
    async def __aenter__(self) -> Sink: ...

    @abstractmethod
    async def __aexit__(self, *exc: object) -> None: ...

    @abstractmethod
    async def check(self, expected_bytes: int | None) -> list[str]:
        """Try the place for writing, leaving nothing behind; return warnings (for example, too little free space).

        Raises `PreflightError`.
        """

    @abstractmethod
    async def create(self, name: str, *, max_bytes: int) -> OutputFile:
        """Begin a file that will grow to about `max_bytes` at most (it may be passed by one block)."""

    @abstractmethod
    async def put(self, name: str, data: bytes) -> None:
        """Write a small object whole or not at all (manifest, journal), replacing an older one, durably."""

    @abstractmethod
    async def get(self, name: str) -> bytes | None:
        """Read a small object back; None where it does not exist."""

    @abstractmethod
    async def list(self, prefix: str = "") -> list[StoredFile]:
        """All files whose relative name starts with `prefix`, in name order, ddbio's own and unfinished ones included.

        Unfinished local files end in `.part`; unfinished uploads to S3 are not files and are not listed.
        """

    @abstractmethod
    async def delete(self, name: str) -> None:
        """Remove one file; no error where it is gone already."""


class SourceFile(NamedTuple):
    """One input file: `name` opens it, `size` is in stored bytes (None for a stream), `tag` changes when it does
    (ETag on S3, `mtime_ns-size` locally, empty for a stream), `compression` is told by the name's ending.
    """

    name: str
    size: int | None
    tag: str
    compression: Compression


class Source(ABC):
    """A place that records come from. An async context manager."""

    @property
    @abstractmethod
    def location(self) -> str:
        """What a person calls this place."""

    @abstractmethod
    async def __aenter__(self) -> Source: ...

    @abstractmethod
    async def __aexit__(self, *exc: object) -> None: ...

    @abstractmethod
    async def files(self) -> list[SourceFile]:
        """All input files, in name order; raises `PreflightError` where there is none."""

    @abstractmethod
    async def manifest(self) -> bytes | None:
        """The manifest of the export that these files belong to, where one lies beside them, else None."""

    @abstractmethod
    def read(self, file: SourceFile, start: int = 0) -> AsyncGenerator[bytes, None]:
        """The file's stored bytes from `start` on, in chunks of at most 1 MiB; close the generator to stop early.

        Raises `SourceError` where the file is gone or its tag has changed, or where a stream is asked for a `start`.
        """
