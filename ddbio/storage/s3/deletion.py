"""Objects deleted by their keys, many in one request. Raises what the client raises."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ddbio.storage.s3.client import S3Client
from ddbio.storage.s3.errors import failed, ignoring

_AT_ONCE = 16
_ONE_BY_ONE = ("NotImplemented", "MethodNotAllowed", "MalformedXML")
"""Refusals of a server without DeleteObjects, or of a key that XML can't hold: one with a control character."""


async def delete(client: S3Client, bucket: str, keys: Sequence[str]) -> None:
    """Delete as many objects as one request may name; no error where one does not exist."""
    if len(keys) > 1:
        with ignoring(*_ONE_BY_ONE):
            return await _delete_many(client, bucket, keys)
    for first in range(0, len(keys), _AT_ONCE):
        group = keys[first : first + _AT_ONCE]
        await asyncio.gather(*(client.call("delete_object", Bucket=bucket, Key=key) for key in group))
    return None


async def _delete_many(client: S3Client, bucket: str, keys: Sequence[str]) -> None:
    objects = [{"Key": key} for key in keys]

    async def send() -> None:
        reply = await client.attempt("delete_objects", Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        for error in reply.get("Errors", ()):
            with ignoring("NoSuchKey"):
                raise failed("DeleteObjects", error.get("Code", ""), f"{error.get('Key')}: {error.get('Message')}")

    await client.insist(send)
