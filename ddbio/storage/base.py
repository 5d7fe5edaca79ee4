"""The storage contract: where an export's files go, and where an import's records come from.

One suite of tests runs over every implementation. Errors of the backend become `DestinationError` or `SourceError`,
which say what was tried and where.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Container, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, NamedTuple

from ddbio.model import Compression
from ddbio.storage.tokens import Token

OWN_FOLDER = "_ddbio"
"""Everything of ddbio's own lives under this name; query engines skip names that start with `_`."""
MANIFEST = f"{OWN_FOLDER}/manifest.json"
"""Where an export's manifest lies, relative to its root."""
JOURNAL = f"{OWN_FOLDER}/journal/"
"""What the chunks of a job's journal begin with, relative to the same root; a job that is done has none."""
LOCK = f"{OWN_FOLDER}/lock"
"""What keeps a second job away, relative to the root."""
PROBE = f"{OWN_FOLDER}/probe"
"""What a check tries to write, relative to the root."""


class StoredFile(NamedTuple):
    """A file that is there: its name relative to the root (`/` between folders), and its size in bytes."""

    name: str
    size: int


class OutputFile(ABC):
    """One file that is being written. It is invisible under its final name until `seal`.

    Blocks are written whole and in order, by one caller at a time. What is durable always ends at the end of a block.
    After a call that failed or was cancelled, the only calls left are `discard` and `leave`; a sink that is left
    discards every file that is neither sealed nor left. Every method raises `DestinationError`.
    """

    name: str

    @property
    def resume_token(self) -> Token | None:
        """What `Sink.recover` needs, besides the name, to seal every offset that `sync` and `finish` returned so far.

        None while there is nothing to seal, and on a stream.
        """
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
        """Remove every trace of the file (aborting an upload). Safe at any moment, also after `seal` (then a no-op).

        Ends soon: where S3 does not answer within about a second, the upload stays, for the next run's sweep.
        """

    @abstractmethod
    async def leave(self) -> None:
        """Write no more, and keep what is durable for `Sink.recover`. Safe at any moment, as `discard` is."""


class Sink(ABC):
    """A place for an export's files. An async context manager: leaving it discards every file that is not sealed.

    Names are relative, with `/` between folders; folders are made as needed. What `put`, `seal` and `recover` have
    done, and every offset that `sync` and `finish` have returned, outlives a loss of power, the file's name included.
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
    async def get(self, name: str, *, most: int | None = None) -> bytes | None:
        """Read a small object back; None where it does not exist. One of more than `most` bytes is an error."""

    @abstractmethod
    async def list(self, prefix: str = "") -> list[StoredFile]:
        """The files whose relative name starts with `prefix`, in name order, ddbio's own and unfinished ones included.

        Those in the root and in `OWN_FOLDER`: what lies in other local folders is not looked at.

        Unfinished local files end in `.part`; unfinished uploads to S3 are not files and are not listed.
        """

    @abstractmethod
    async def foreign_input(self, is_mine: Callable[[str], bool]) -> str | None:
        """A file that an import from here would read, and that is not mine by its name; None where there is none.

        Of S3 only the first thousand objects are looked at.
        """

    @abstractmethod
    async def delete(self, *names: str) -> None:
        """Remove files, in no certain order; no error where one is gone already.

        When it returns, a loss of power brings none of them back.
        """

    @abstractmethod
    async def recover(self, name: str, size: int, token: Token | None) -> bool:
        """Seal a file that nobody writes any more, at `size` bytes: an offset that its `sync` or `finish` returned.

        `token` is the file's `resume_token`, read after that call. False where what is needed is gone; what is left of
        the file is then removed. The same call gives the same answer after any crash in between.
        """

    @abstractmethod
    async def sweep(self, owns: Callable[[str], bool], keep: Container[str]) -> Sequence[str]:
        """Remove the unfinished files that dead runs left behind; return their final names, in order, once per file.

        Removed is what has a name that `owns` accepts, or that lies in `_ddbio/`, unless it is in `keep`. Finished
        files stay. For the holder of the lock, while nothing is being written.
        """

    @abstractmethod
    def lock(self, run: str) -> AbstractAsyncContextManager[int | None]:
        """Keep every other job away from this place; `run` is the id that others are told.

        Yields a descriptor, or None: a process that inherits it holds the lock too. So a job's workers keep others away
        until the last of them has ended, however its first process did; a lease on S3 outlives them by itself.

        Entering raises `JobLockedError` where another job is at work, `PreflightError` where it can't be found out.
        A lock that gets lost cancels the body, and `JobLockedError` comes out. The end of the process, `kill -9`
        included, frees the lock: a folder's at once, that of S3 after a minute.
        """


class SourceFile(NamedTuple):
    """One input file: `name` opens it, `size` is in stored bytes (None for a stream), `tag` changes when it does
    (ETag on S3, `mtime_ns-size` locally, empty for a stream), `compression` is told by the name's ending.
    """

    name: str
    size: int | None
    tag: str
    compression: Compression


class ExportFolder(NamedTuple):
    """A folder or prefix that holds an export, whole or not."""

    root: str
    """What the names of its files begin with; behind it comes what a manifest calls them."""
    has_manifest: bool = False
    has_journal: bool = False
    part: str = ""
    """The name of a file that the export has not finished, if there is one."""


class Survey(NamedTuple):
    """What a source holds: its input files, in name order, and the exports that they are of.

    `named` tells what a person has named: one file (or a stream), files by a glob, or a folder or prefix.
    """

    files: list[SourceFile]
    named: Literal["file", "glob", "folder"]
    root: str = ""
    """The folder that the files, or the manifest beside them, lie in, as `ExportFolder.root`."""
    exports: tuple[ExportFolder, ...] = ()
    hidden: tuple[SourceFile, ...] = ()
    """Files that are left out as their names begin with `_` or `.`, and that an export could have: where its manifest
    lists them, they are input like all others."""


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
    async def survey(self) -> Survey:
        """Look for all input files; raises `NoInputError` (a `PreflightError`) where there is none, hidden or not."""

    async def files(self) -> list[SourceFile]:
        """All input files, in name order; raises as `survey`."""
        return (await self.survey()).files

    @abstractmethod
    async def manifest(self, root: str | None = None) -> bytes | None:
        """The manifest of the export in `root`, or of the one that these files belong to; None where none lies there.

        `root` is that of an `ExportFolder`.
        """

    @abstractmethod
    def place(self, name: str) -> str:
        """What a person calls the file or folder of this name."""

    @abstractmethod
    def read(self, file: SourceFile, start: int = 0) -> AsyncGenerator[bytes, None]:
        """The file's stored bytes from `start` on, in chunks of at most 1 MiB; close the generator to stop early.

        Raises `SourceError` where the file is gone or its tag has changed, or where a stream is asked for a `start`.
        """
