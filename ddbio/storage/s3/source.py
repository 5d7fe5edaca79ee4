"""An S3 object, or all objects under a prefix, as a source."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError, FlexibleChecksumError, IncompleteReadError

from ddbio.errors import NoInputError, PreflightError, SourceError
from ddbio.names import INPUT_ENDINGS, compression_of, is_exported, is_hidden, is_seen, is_unfinished
from ddbio.storage.base import JOURNAL, MANIFEST, OWN_FOLDER, ExportFolder, Source, SourceFile, Survey
from ddbio.storage.s3.client import S3Client
from ddbio.storage.s3.errors import code_of, translated_errors
from ddbio.storage.s3.tuning import DEFAULT, MIB, S3Tuning
from ddbio.storage.stdio import CHUNK

PIECE = 8 * MIB


class S3Source(Source):
    """The object of that exact key (with any ending), or else the objects under it, by the rules for a folder.

    The client is an aiobotocore S3 client that the caller opens and closes.
    """

    def __init__(self, client: Any, bucket: str, key: str, *, tuning: S3Tuning = DEFAULT) -> None:
        self._client = S3Client(client, retries=tuning.retries)
        self._bucket = bucket
        self._key = key
        self._prefix = f"{key.rstrip('/')}/" if key.strip("/") else ""

    @property
    def location(self) -> str:
        return f"s3://{self._bucket}/{self._key}"

    async def survey(self) -> Survey:
        with translated_errors(f"look into {self.location}", PreflightError):
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
        with translated_errors(f"read the manifest of {self.location}", SourceError):
            if root is None:
                root = self._beside if await self._exact() else self._prefix
            found = await self._client.read(self._bucket, root + MANIFEST)
            return found and found.data

    def location_of(self, name: str) -> str:
        return f"s3://{self._bucket}/{name}"

    async def read(self, file: SourceFile, start: int = 0) -> AsyncGenerator[bytes, None]:
        location, size = self.location_of(file.name), file.size or 0
        reader = _RangeReader(self._client, self._bucket, file, location)
        try:
            while start < size:
                with translated_errors(f"read {location} from byte {start}", SourceError):
                    chunk = await self._client.retry(lambda: reader.read(start))  # noqa: B023 - awaited here
                start += len(chunk)
                yield chunk
        finally:
            reader.close()

    @property
    def _beside(self) -> str:
        return self._key[: self._key.rfind("/") + 1]

    async def _exact(self) -> SourceFile | None:
        if not self._key or self._key.endswith("/"):
            return None
        try:
            head = await self._client.call("head_object", Bucket=self._bucket, Key=self._key)
        except ClientError as error:
            # Without s3:ListBucket a missing key is a 403; the listing that follows then says what is forbidden.
            if code_of(error) in {"404", "403"}:
                return None
            raise
        return self._file(self._key, head["ContentLength"], head["ETag"])

    def _file(self, key: str, size: int, etag: str) -> SourceFile:
        if size < 0:
            where = self.location_of(key)
            raise PreflightError(f"The endpoint reports {size:,} bytes for {where}, which is not possible.")
        return SourceFile(key, size, etag, compression_of(key))

    async def _listed(
        self, prefix: str, root: str
    ) -> tuple[list[SourceFile], list[SourceFile], tuple[ExportFolder, ...]]:
        """The input files under a prefix, the hidden ones, and the exports; `root` is the source's own prefix."""
        files: list[SourceFile] = []
        hidden: list[SourceFile] = []
        exports: dict[str, ExportFolder] = {}
        async for page in self._client.pages("list_objects_v2", Bucket=self._bucket, Prefix=prefix):
            for each in page.get("Contents", ()):
                name = each["Key"][len(root) :]
                folder, _, last = name.rpartition("/")
                file = self._file(each["Key"], each["Size"], each["ETag"])
                if is_seen(name):
                    files.append(file)
                elif is_exported(last) and is_hidden(last) and not any(map(is_hidden, folder.split("/"))):
                    hidden.append(file)
                else:
                    _note(exports, name, root)
        return files, hidden, tuple(exports.values())


@dataclass
class _RangeReader:
    """Reads an object by ranges of `PIECE` bytes; a body that broke off is replaced by a new one at the next `read`."""

    client: S3Client
    bucket: str
    file: SourceFile
    location: str
    body: Any = None
    end: int = 0

    async def read(self, start: int) -> bytes:
        try:
            if self.body is None:
                self.end = min(start + PIECE, self.file.size or 0)
                self.body = await self._get(start, self.end)
            chunk = await self._fill(min(CHUNK, self.end - start))
            if start + len(chunk) == self.end:
                await self.body.read(1)  # the SDK verifies a body at its end
                self.close()
        except FlexibleChecksumError as error:
            # Not retried: the first chunks of the body are in use already.
            raise SourceError(f"The checksum of {self.location} does not match what was read.") from error
        except BaseException:
            self.close()
            raise
        return chunk

    def close(self) -> None:
        body, self.body = self.body, None
        if body is not None:
            body.close()

    async def _fill(self, size: int) -> bytes:
        """`size` bytes: the network delivers much smaller pieces."""
        pieces, missing = [], size
        while missing and (piece := await self.body.read(missing)):
            pieces.append(piece)
            missing -= len(piece)
        if missing:
            raise IncompleteReadError(actual_bytes=size - missing, expected_bytes=size)
        return b"".join(pieces)

    async def _get(self, start: int, end: int) -> Any:
        file, hint = self.file, "Run again once nobody writes to it."
        what = {"Bucket": self.bucket, "Key": file.name, "Range": f"bytes={start}-{end - 1}", "IfMatch": file.tag}
        try:
            reply = await self.client.attempt("get_object", **what)
        except ClientError as error:
            if code_of(error) in {"PreconditionFailed", "412", "NoSuchKey", "InvalidRange"}:
                raise SourceError(f"{self.location} was changed while it was read.", hint=hint) from error
            raise
        whole = str(reply.get("ContentRange", "")).rpartition("/")[2]
        if reply["ETag"] != file.tag or reply["ContentLength"] != end - start or whole not in ("", "*", str(file.size)):
            reply["Body"].close()
            raise SourceError(f"{self.location}: the reply is not the range that was asked for.", hint=hint)
        return reply["Body"]


def _note(exports: dict[str, ExportFolder], inner: str, root: str) -> None:
    """Note the export that an object belongs to, if its name inside `root` says so."""
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
