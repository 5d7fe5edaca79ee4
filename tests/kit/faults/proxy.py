"""The fault proxy itself: one server for DynamoDB and S3 clients, in front of one upstream."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.kit.faults import s3
from tests.kit.faults.account import FaultAccount
from tests.kit.faults.capacity import Capacity, Limits
from tests.kit.faults.credentials import KeyRing
from tests.kit.faults.dynamodb import DynamoDB, expired
from tests.kit.faults.relay import Relay
from tests.kit.faults.schedule import PRESETS, Decision, Schedule
from tests.kit.faults.upstream import UpstreamError
from tests.kit.servers.aws import ACCESS_KEY, SECRET_KEY
from tests.kit.servers.http import Reply, Request
from tests.kit.servers.replies import error_reply, json_reply

MAX_BODY = 64 * 1024 * 1024
"""More than any DynamoDB takes; up to here it is the upstream that refuses a body."""


class FaultProxy(Relay):
    """Serves on 127.0.0.1 what `upstream` (a URL) serves, with faults.

    Which request meets which fault is settled by `schedule`, which may be replaced at any time: requests are numbered
    by operation, from 0. `limits` turn capacity on, `keys` the endpoint /_credentials. The keys sign the upload aborts
    of the fault `no_such_upload`.
    """

    def __init__(
        self,
        upstream: str,
        schedule: Schedule | None = None,
        *,
        limits: Limits | None = None,
        keys: KeyRing | None = None,
        access_key: str = ACCESS_KEY,
        secret_key: str = SECRET_KEY,
    ) -> None:
        super().__init__(upstream, access_key, secret_key)
        self.schedule = schedule or Schedule(0, PRESETS["none"])
        self.keys = keys
        self.account = FaultAccount()
        self._numbers: Counter[str] = Counter()
        capacity = None if limits is None else Capacity(limits)
        self._dynamodb = DynamoDB(self.upstream, lambda: self.account, capacity)
        self._s3 = s3.S3(self.upstream)

    def summary(self, windows: list[float], *, pages: bool) -> dict[str, Any]:
        """The account, and what led to it, as JSON values."""
        keys = (
            None if self.keys is None else {name: getattr(self.keys, name) for name in ("issued", "failed", "refused")}
        )
        schedule = {"seed": self.schedule.seed, "rates": self.schedule.rates}
        return {**schedule, "keys": keys, **self.account.summary(windows, pages=pages)}

    async def answer(self, request: Request) -> Reply:
        path = urlsplit(request.path).path
        if path == "/_account":
            return self._tell_account(request)
        if path == "/_credentials" and self.keys is not None:
            return self.keys.issue()
        operation = request.operation or s3.operation_of(request)
        self.account.operations[operation] += 1
        if self.keys is not None and self.keys.refuses(request):
            return expired() if request.operation else s3.refusal("expired_token")
        try:
            return await self._serve(request, operation)
        except UpstreamError:
            self.account.upstream_errors += 1
            raise

    async def _serve(self, request: Request, operation: str) -> Reply:
        service: DynamoDB | s3.S3 = self._s3
        if request.operation:
            if request.stream is not None and (request.stream.length or 0) > MAX_BODY:
                return error_reply("RequestEntityTooLarge", "", 413)
            service, request = self._dynamodb, await request.whole()
        decision = self._decide(service, request, operation)
        if decision.pause:
            self.account.faults["latency"] += 1
            await asyncio.sleep(decision.pause)
        return await service.answer(request, operation, decision)

    def _decide(self, service: DynamoDB | s3.S3, request: Request, operation: str) -> Decision:
        number = self._numbers[operation]
        self._numbers[operation] += 1
        decision = self.schedule.decide(operation, number)
        if decision.fault is None:
            return decision
        if not service.applies(decision.fault, request):
            return decision._replace(fault=None)
        self.account.faults[decision.fault] += 1
        return decision

    def _tell_account(self, request: Request) -> Reply:
        if request.method == "DELETE":
            self.account = FaultAccount()
        query = parse_qs(urlsplit(request.path).query, keep_blank_values=True)
        windows = [float(seconds) for seconds in query.get("window", ["1", "5"])]
        return json_reply(self.summary(windows, pages="pages" in query))
