"""S3 as a job uses it: each bucket in its own region, and one client for all buckets of a region."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any, NamedTuple

from ddbio.aws.session import Session
from ddbio.options import Connection
from ddbio.pipeline.job import S3Facts
from ddbio.storage import S3, parse_location


class Bucket(NamedTuple):
    """What serves a place; both are None where that is not in S3."""

    facts: S3Facts | None = None
    client: Any = None


class Buckets:
    """The buckets of one job; their clients are open as long as `stack` is."""

    def __init__(self, session: Session | None, connection: Connection, stack: AsyncExitStack) -> None:
        self._session = session
        self._profile = connection.profile
        self._stack = stack
        self._regions: dict[str, str] = {}
        self._clients: dict[str, Any] = {}

    async def of(self, location: str) -> Bucket:
        """What serves this place; raises PreflightError where its bucket is missing or can't be asked about."""
        place = parse_location(location)
        if not isinstance(place, S3) or self._session is None:
            return Bucket()
        if place.bucket not in self._regions:
            self._regions[place.bucket] = await self._session.bucket_region(place.bucket)
        region = self._regions[place.bucket]
        if region not in self._clients:
            self._clients[region] = await self._stack.enter_async_context(self._session.s3_client(region))
        return Bucket(S3Facts(region, self._session.s3_endpoint, self._profile), self._clients[region])
