"""Multipart uploads completed or aborted by their ids, whoever began them. Raises what the client raises."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from ddbio.storage.s3.client import S3Client
from ddbio.storage.s3.errors import ignoring
from ddbio.storage.tokens import Part, UploadToken

ABORTS = 3
"""An upload with parts still in flight may need more than one abort (S3 API, AbortMultipartUpload)."""
_AT_ONCE = 16
log = logging.getLogger("ddbio")


async def complete(client: S3Client, address: Mapping[str, str], upload_id: str, parts: Sequence[Part]) -> bool:
    """Make an object of an upload's first parts; False where the upload is gone, and no such object is there."""
    listed = [
        # S3 verifies the checksum again, and demands it where it has one.
        {"PartNumber": number, "ETag": f'"{part.etag}"'} | ({"ChecksumCRC32": part.crc32} if part.crc32 else {})
        for number, part in enumerate(parts, 1)
    ]
    with ignoring("NoSuchUpload"):
        upload = {"UploadId": upload_id, "MultipartUpload": {"Parts": listed}}
        made = await client.call("complete_multipart_upload", **address, **upload)
        if "ETag" in made:  # otherwise the reply is not one of S3's
            return True
    # The reply to an earlier request may have been lost; by now the upload is completed and forgotten.
    with ignoring("404"):
        head = await client.call("head_object", **address)
        # The ETag of a multipart upload ends in its number of parts.
        return bool(head["ContentLength"] == parts[-1].end and head["ETag"].endswith(f'-{len(parts)}"'))
    return False


async def recover(client: S3Client, address: Mapping[str, str], size: int, token: UploadToken) -> bool:
    """Complete the upload of a `token` at `size` bytes, or abort it and return False."""
    parts = [part for part in token.parts if part.end <= size]
    if parts and parts[-1].end == size:
        with ignoring("InvalidPart"):
            if await complete(client, address, token.upload_id, parts):
                return True
    await abort(client, address, token.upload_id)
    return False


async def abort(client: S3Client, address: Mapping[str, str], upload_id: str) -> bool:
    """Abort an upload, repeatedly while parts that were in flight arrive; False where it still has parts."""
    for _ in range(ABORTS):
        with ignoring("NoSuchUpload"):
            await client.call("abort_multipart_upload", **address, UploadId=upload_id)
        with ignoring("NoSuchUpload"):
            reply = await client.call("list_parts", **address, UploadId=upload_id, MaxParts=1)
            if reply.get("Parts"):
                continue
        return True
    return False


async def sweep(client: S3Client, bucket: str, prefix: str, unwanted: Callable[[str], bool]) -> set[str]:
    """Abort the open uploads under `prefix` whose keys are `unwanted`; return the keys."""
    uploads = [
        (each["Key"], each["UploadId"])
        async for page in client.pages("list_multipart_uploads", Bucket=bucket, Prefix=prefix)
        for each in page.get("Uploads", ())
        if unwanted(each["Key"])
    ]
    removed = set()
    for first in range(0, len(uploads), _AT_ONCE):
        group = uploads[first : first + _AT_ONCE]
        ends = await asyncio.gather(
            *(abort(client, {"Bucket": bucket, "Key": key}, upload_id) for key, upload_id in group),
            return_exceptions=True,
        )
        for (key, upload_id), end in zip(group, ends, strict=True):
            if isinstance(end, BaseException):
                raise end
            if end:
                removed.add(key)
            else:
                said = "The upload %s of s3://%s/%s still has parts although it was aborted."
                log.warning(said, upload_id, bucket, key)
    return removed
