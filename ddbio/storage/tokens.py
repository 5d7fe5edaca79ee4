"""Resume tokens: what another process needs, besides a file's name, to seal it (`Sink.recover`)."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import msgspec


class LocalToken(msgspec.Struct, frozen=True, tag_field="kind", tag="local"):
    """A file of a folder. The whole token, the name of the unfinished file, is in every commit."""

    part: str

    @property
    def parts_recorded(self) -> int:
        return 0

    def since(self, recorded: int) -> LocalToken:  # noqa: ARG002 (as `UploadToken.since`)
        return self

    def joined(self, known: Token | None) -> LocalToken:  # noqa: ARG002 (as `UploadToken.joined`)
        return self


class Part(NamedTuple):
    """A stored part: where it ends in the file, its ETag without quotes, and its CRC32 in Base64, if S3 has one."""

    end: int
    etag: str
    crc32: str


class UploadToken(msgspec.Struct, frozen=True, tag_field="kind", tag="s3"):
    """A multipart upload. It grows by a part at a time, so each commit holds only the parts that are new."""

    upload_id: str
    parts: tuple[Part, ...]
    after: Annotated[int, msgspec.Meta(ge=0)] = 0
    """How many parts earlier commits hold, before `parts`."""

    @property
    def parts_recorded(self) -> int:
        return self.after + len(self.parts)

    def since(self, recorded: int) -> UploadToken:
        """A whole token without its first `recorded` parts."""
        return UploadToken(self.upload_id, self.parts[recorded:], recorded)

    def joined(self, known: Token | None) -> UploadToken:
        """The whole token, where `known` is the file's token so far. Joining it twice changes nothing."""
        before = known.parts[: self.after] if isinstance(known, UploadToken) else ()
        return UploadToken(self.upload_id, (*before, *self.parts))


Token = LocalToken | UploadToken
