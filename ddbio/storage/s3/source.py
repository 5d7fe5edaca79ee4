"""An S3 object, or all objects under a prefix, as a source."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError, FlexibleChecksumError

from ddbio.errors import NoInputError, PreflightError, SourceError
from ddbio.names import is_exported
from ddbio.storage.base import JOURNAL, MANIFEST, OWN_FOLDER, ExportFolder, Source, SourceFile, Survey
from ddbio.storage.naming import INPUT_ENDINGS, compression_of, is_hidden, is_seen, is_unfinished
from ddbio.storage.s3.errors import code_of, edge
from ddbio.storage.s3.sink import MIB, read_object
from ddbio.storage.stdio import CHUNK

PIECE = 8 * MIB
"""Bytes asked for in one GET."""
TRIES = 5
"""GETs of one piece: the first, and those that take up a body where it broke off."""
FIRST_PAUSE = 0.1
"""Seconds before the second GET of a piece; doubled before each further one."""


class S3Source(Source):
    """The object of that exact key (of any ending), else the objects under it as a folder, by the rules of a walk.

    The client is an aiobotocore S3 client that the caller opens and closes.
    """

    def __init__(self, client: Any, bucket: str, key: str) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._prefix = f"{key.rstrip('/')}/" if key.strip("/") else ""

    @property
    def location(self) -> str:
        return f"s3://{self._bucket}/{self._key}"

    async def __aenter__(self) -> S3Source:
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Nothing to do: no body stays open when its reader is closed."""

    async def survey(self) -> Survey:
        with edge(f"look into {self.location}", PreflightError):
            exact = await self._exact()
            root = self._beside if exact else self._prefix
            files, hidden, exports = await self._listed(f"{root}{OWN_FOLDER}/" if exact else root, root)
        if not exact and not files and not hidden:
            hint = f"Looked for an object of that name, and under it for names ending in {INPUT_ENDINGS}."
            raise NoInputError(f"{self.location} holds no input file.", hint=hint)
        if exact:
            return Survey([exact], "file", root, exports)
        return Survey(sorted(files), "folder", root, exports, tuple(sorted(hidden)))

    async def manifest(self, root: str | None = None) -> bytes | None:
        with edge(f"read the manifest of {self.location}", SourceError):
            if root is None:
                root = self._beside if await self._exact() else self._prefix
            return await read_object(self._client, self._bucket, root + MANIFEST)

    def place(self, name: str) -> str:
        return f"s3://{self._bucket}/{name}"

    async def read(self, file: SourceFile, start: int = 0) -> AsyncGenerator[bytes, None]:
        size = file.size or 0
        for first in range(start, size, PIECE):
            async with aclosing(self._piece(file, first, min(first + PIECE, size))) as chunks:
                async for chunk in chunks:
                    yield chunk

    @property
    def _beside(self) -> str:
        """What the keys beside the object of the exact key begin with."""
        return self._key[: self._key.rfind("/") + 1]

    async def _exact(self) -> SourceFile | None:
        if not self._key or self._key.endswith("/"):
            return None
        try:
            head = await self._client.head_object(Bucket=self._bucket, Key=self._key)
        except ClientError as error:
            # Without s3:ListBucket a missing key is a 403; the listing that follows then says what is forbidden.
            if code_of(error) in {"404", "403"}:
                return None
            raise
        return self._file(self._key, head["ContentLength"], head["ETag"])

    def _file(self, key: str, size: int, etag: str) -> SourceFile:
        if size < 0:
            raise PreflightError(f"{self.place(key)} has {size:,} bytes, says the endpoint: that is not possible.")
        return SourceFile(key, size, etag, compression_of(key))

    async def _listed(
        self, prefix: str, root: str
    ) -> tuple[list[SourceFile], list[SourceFile], tuple[ExportFolder, ...]]:
        """The input files under a prefix, those that are hidden, and the exports; `root` is where the walk begins."""
        files: list[SourceFile] = []
        hidden: list[SourceFile] = []
        exports: dict[str, ExportFolder] = {}
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        async for page in pages:
            for each in page.get("Contents", ()):
                key = each["Key"]
                name = key[len(root) :]
                folder, _, last = name.rpartition("/")
                file = self._file(key, each["Size"], each["ETag"])
                if is_seen(name):
                    files.append(file)
                elif is_exported(last) and is_hidden(last) and not any(map(is_hidden, folder.split("/"))):
                    hidden.append(file)
                else:
                    _note(exports, key, root)
        return files, hidden, tuple(exports.values())

    async def _piece(self, file: SourceFile, first: int, end: int) -> AsyncGenerator[bytes, None]:
        """One range; a body that breaks off is taken up again at the byte where it did."""
        broken: Exception | None = None
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(FIRST_PAUSE * 2 ** (attempt - 1))
            try:
                async with aclosing(self._body(file, first, end)) as chunks:
                    async for chunk in chunks:
                        first += len(chunk)
                        yield chunk
            except FlexibleChecksumError as error:
                raise SourceError(f"The checksum of {self.place(file.name)} does not match what was read.") from error
            except (BotoCoreError, aiohttp.ClientError) as error:
                broken = error
            if first == end:
                return
        hint = "Check the network, and run again."
        raise SourceError(
            f"Reading {self.place(file.name)} broke off {TRIES} times at byte {first}.", hint=hint
        ) from broken

    async def _body(self, file: SourceFile, first: int, end: int) -> AsyncGenerator[bytes, None]:
        with edge(f"read {self.place(file.name)}", SourceError):
            reply = await self._get(file, first, end)
        body = reply["Body"]
        async with body:
            while chunk := await _fill(body):
                yield chunk

    async def _get(self, file: SourceFile, first: int, end: int) -> Any:
        hint = "Run again once nobody writes to it."
        try:
            reply = await self._client.get_object(
                Bucket=self._bucket, Key=file.name, Range=f"bytes={first}-{end - 1}", IfMatch=file.tag
            )
        except ClientError as error:
            if code_of(error) in {"PreconditionFailed", "412", "NoSuchKey", "InvalidRange"}:
                raise SourceError(f"{self.place(file.name)} was changed while it was read.", hint=hint) from error
            raise
        whole = str(reply.get("ContentRange", "")).rpartition("/")[2]
        if reply["ETag"] != file.tag or reply["ContentLength"] != end - first or whole not in ("", "*", str(file.size)):
            reply["Body"].close()
            raise SourceError(f"{self.place(file.name)}: the reply is not the range that was asked for.", hint=hint)
        return reply


def _note(exports: dict[str, ExportFolder], key: str, root: str) -> None:
    """Note the export that a key tells of, if it does."""
    inner = key[len(root) :]
    at = f"/{inner}".rfind(f"/{OWN_FOLDER}/")
    folder = inner[:at] if at >= 0 else inner[: inner.rfind("/") + 1]
    name = inner[len(folder) :]
    if any(map(is_hidden, folder.split("/"))):
        return
    known = exports.get(root + folder, ExportFolder(root + folder))
    if name == MANIFEST:
        known = known._replace(has_manifest=True)
    elif name.startswith(JOURNAL):
        known = known._replace(has_journal=True)
    elif is_unfinished(name):
        known = known._replace(part=known.part or name)
    else:
        return
    exports[root + folder] = known


async def _fill(body: Any) -> bytes:
    """The next chunk: the network hands out much smaller pieces. Empty at the end."""
    pieces = []
    missing = CHUNK
    while missing and (piece := await body.read(missing)):
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)
