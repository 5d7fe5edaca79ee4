"""The storage contract: sinks, which an export writes to, and sources, which an import reads.

Errors of the backend become `DestinationError` or `SourceError`, which name what was tried and where.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Container, Sequence
from contextlib import AbstractAsyncContextManager
from typing import ClassVar, Literal, NamedTuple, Self

from ddbio.model import Compression
from ddbio.storage.tokens import Token

OWN_FOLDER = "_ddbio"
"""The folder of all files of ddbio's own; query engines skip names that start with `_`."""
MANIFEST = f"{OWN_FOLDER}/manifest.json"
JOURNAL = f"{OWN_FOLDER}/journal/"
"""What the names of a journal's chunks begin with."""
LOCK = f"{OWN_FOLDER}/lock"
PROBE = f"{OWN_FOLDER}/probe"
"""The file that a check writes."""


class StoredFile(NamedTuple):
    """An existing file: its name relative to the root (`/` between folders), and its size in bytes."""

    name: str
    size: int


class OutputFile(ABC):
    """One file that is being written. It is invisible under its final name until `seal`.

    Blocks are written whole and in order, by one caller at a time. What is durable always ends at the end of a block.
    After a call that failed or was cancelled, only `discard` and `leave` may be called. A sink that is closed discards
    every file that is neither sealed nor left. Every method raises `DestinationError`.
    """

    name: str

    @property
    def resume_token(self) -> Token | None:
        """What `Sink.recover` needs to seal every offset that `sync` and `finish` returned so far, if there is any."""
        return None

    @abstractmethod
    async def write(self, block: bytes) -> None:
        """Append one block (the records of a page, already compressed). Waits while too much is in flight."""

    @abstractmethod
    async def sync(self) -> int:
        """Make durable what can be; return the offset up to which every byte is durable. It never decreases.

        A local file is flushed as a whole. An S3 upload does not wait for the parts in flight.
        """

    @abstractmethod
    async def finish(self) -> int:
        """End the file: make everything durable, without the final name; return the file's size. Idempotent."""

    @abstractmethod
    async def seal(self) -> None:
        """Finish, and give the file its final name, replacing an older file of that name. Idempotent."""

    @abstractmethod
    async def discard(self) -> None:
        """Remove every trace of the file (an upload is aborted). Safe at any time; after `seal` it does nothing.

        Returns soon: where S3 does not answer within about a second, the upload is left to the next run's sweep.
        """

    @abstractmethod
    async def leave(self) -> None:
        """Stop writing, and keep what is durable for `Sink.recover`. Safe at any time, like `discard`."""


class Sink(ABC):
    """A destination. An async context manager: leaving it discards every file that is not sealed.

    Names are relative, with `/` between folders; folders are created as needed. What `put`, `seal` and `recover` have
    done, and every offset that `sync` and `finish` have returned, survives a loss of power, the file's name included.
    """

    keeps_state: ClassVar[bool] = True
    """Whether what is put here can be read back. Where it cannot, a job has no journal, no manifest and no lock."""

    @property
    @abstractmethod
    def location(self) -> str:
        """For messages."""

    async def __aenter__(self) -> Self:
        return self

    @abstractmethod
    async def __aexit__(self, *exc: object) -> None: ...

    @abstractmethod
    async def check(self, expected_bytes: int | None) -> list[str]:
        """Check that the destination can be written to, and return warnings (little free space). Leaves nothing behind.

        Raises `PreflightError`.
        """

    @abstractmethod
    async def create(self, name: str, *, max_bytes: int) -> OutputFile:
        """Begin a file of about `max_bytes` at most (one block may exceed it)."""

    @abstractmethod
    async def put(self, name: str, data: bytes) -> None:
        """Write a small object (manifest, journal) whole or not at all, durably; it replaces an older one."""

    @abstractmethod
    async def get(self, name: str, *, most: int | None = None) -> bytes | None:
        """Read a small object; None where it does not exist. More than `most` bytes are an error."""

    @abstractmethod
    async def list(self, prefix: str = "") -> list[StoredFile]:
        """The files whose relative name starts with `prefix`, in name order, ddbio's own and unfinished ones included.

        Of a local folder, only the root and `OWN_FOLDER` are listed; of S3, no unfinished upload is.
        """

    @abstractmethod
    async def foreign_input(self, is_mine: Callable[[str], bool]) -> str | None:
        """A file that an import from here would read and that `is_mine` denies; None where a short look finds none."""

    @abstractmethod
    async def delete(self, *names: str) -> None:
        """Remove files durably, in no particular order; no error where one does not exist."""

    @abstractmethod
    async def recover(self, name: str, size: int, token: Token | None) -> bool:
        """Seal a file that nobody writes any more, at `size` bytes: an offset that its `sync` or `finish` returned.

        `token` is its `resume_token`, read after that call. False where what is needed no longer exists; the rest is
        then removed. The same call returns the same result after any crash in between.
        """

    @abstractmethod
    async def sweep(self, owns: Callable[[str], bool], keep: Container[str]) -> Sequence[str]:
        """Remove the unfinished files that earlier runs left; return their final names, sorted, without duplicates.

        A file is removed where `owns` accepts its final name, or it is in `_ddbio/`, unless the name is in `keep`.
        Only the holder of the lock may call this, while nothing is being written.
        """

    @abstractmethod
    def lock(self, run: str) -> AbstractAsyncContextManager[int | None]:
        """Keep every other job out of this destination; `run` is the id that its message names.

        Yields a file descriptor, or None. A process that inherits the descriptor holds the lock too, so that a job's
        workers keep others out until the last of them has ended. The end of the processes, `kill -9` included, frees
        the lock: a folder's at once, the one in S3 after a minute.

        Entering raises `JobLockedError` where another job holds the lock, `PreflightError` where that can't be
        determined. When the lock is lost, the body is cancelled and `JobLockedError` is raised.
        """


class SourceFile(NamedTuple):
    name: str
    """What opens it."""
    size: int | None
    """In stored bytes; None for a stream."""
    tag: str
    """It changes when the file does: the ETag on S3, `mtime_ns-size` locally, empty for a stream."""
    compression: Compression


class ExportFolder(NamedTuple):
    """A folder or prefix that holds an export, complete or not."""

    root: str
    """What the names of its files begin with, before those in its manifest."""
    has_manifest: bool = False
    has_journal: bool = False
    part: str = ""
    """The name of an unfinished file of the export, if there is one."""


class Survey(NamedTuple):
    """What a source holds: its input files, in name order, and the exports that they belong to."""

    files: list[SourceFile]
    named: Literal["file", "glob", "folder"]
    """What the location names; a stream counts as a file, a prefix as a folder."""
    root: str = ""
    """The folder of the files, or of the manifest beside them, in the form of `ExportFolder.root`."""
    exports: tuple[ExportFolder, ...] = ()
    hidden: tuple[SourceFile, ...] = ()
    """Files whose names begin with `_` or `.`, but that an export could have written. They are input only where its
    manifest lists them."""


class Source(ABC):
    """What records are read from. An async context manager."""

    rereadable: ClassVar[bool] = True
    """Whether an import from it can be resumed."""

    @property
    @abstractmethod
    def location(self) -> str:
        """For messages."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:  # noqa: B027 - nothing stays open in any source
        pass

    @abstractmethod
    async def survey(self) -> Survey:
        """Find all input files; raises `NoInputError` (a `PreflightError`) where there is none, hidden or not."""

    async def files(self) -> list[SourceFile]:
        return (await self.survey()).files

    @abstractmethod
    async def manifest(self, root: str | None = None) -> bytes | None:
        """The manifest of the export in `root` (of an `ExportFolder`), or of the one with these files, or None."""

    @abstractmethod
    def location_of(self, name: str) -> str:
        """The path or the `s3://` URL of the file or folder of this name, for messages."""

    @abstractmethod
    def read(self, file: SourceFile, start: int = 0) -> AsyncGenerator[bytes, None]:
        """The file's stored bytes from `start` on, in chunks of at most 1 MiB; close the generator to stop early.

        Raises `SourceError` where the file no longer exists or its tag has changed, and for a `start` in a stream.
        """
