"""Objects deleted by their keys, many in one request. Raises what the client raises."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ddbio.storage.s3.errors import failed, ignoring

MOST_KEYS = 1_000
"""Keys in one request (S3 API, DeleteObjects)."""
_AT_ONCE = 16
_ONE_BY_ONE = ("NotImplemented", "MethodNotAllowed", "MalformedXML")
"""What a server says that does not know DeleteObjects, or a key that XML can't hold: one with a control character."""


async def delete(client: Any, bucket: str, keys: Sequence[str]) -> None:
    """Delete at most `MOST_KEYS` objects; no error where one is gone already."""
    if len(keys) > 1:
        with ignoring(*_ONE_BY_ONE):
            return await _delete_many(client, bucket, keys)
    for first in range(0, len(keys), _AT_ONCE):
        group = keys[first : first + _AT_ONCE]
        await asyncio.gather(*(client.delete_object(Bucket=bucket, Key=key) for key in group))
    return None


async def _delete_many(client: Any, bucket: str, keys: Sequence[str]) -> None:
    objects = [{"Key": key} for key in keys]
    reply = await client.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
    for error in reply.get("Errors", ()):
        with ignoring("NoSuchKey"):
            raise failed("DeleteObjects", error.get("Code", ""), f"{error.get('Key')}: {error.get('Message')}")
