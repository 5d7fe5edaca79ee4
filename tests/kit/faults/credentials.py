"""A credentials endpoint as containers have one, whose keys are valid for a number of requests."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from random import Random

from tests.kit.servers.http import Reply, Request
from tests.kit.servers.replies import json_reply

PREFIX = "ASIAFAULTS"
_KEY = re.compile(rf"Credential=({PREFIX}\d+)/")


class KeyRing:
    """Hands out keys, each of them good for `life` requests, and refuses the worn ones.

    Keys of any other form are accepted. The share `failures` of the requests for a key fails with HTTP 500, the same
    ones for the same `seed`. Keys expire in `seconds`, for clients that renew by the clock.
    """

    def __init__(self, life: int, *, failures: float = 0.0, seconds: float = 3600.0, seed: int = 0) -> None:
        self._life = life
        self._failures = failures
        self._seconds = seconds
        self._rng = Random(f"{seed} credentials")
        self._used: Counter[str] = Counter()
        self.issued = 0
        """How many keys were handed out."""
        self.failed = 0
        """How often the endpoint failed on purpose."""
        self.refused = 0
        """How many requests came with a worn key."""

    def issue(self) -> Reply:
        """A new key in the form of the container credentials endpoint, or the failure whose turn it is."""
        if self._rng.random() < self._failures:
            self.failed += 1
            return json_reply({"code": "InternalServerException", "message": "no credentials now"}, 500)
        self.issued += 1
        expiration = datetime.now(UTC) + timedelta(seconds=self._seconds)
        return json_reply(
            {
                "AccessKeyId": f"{PREFIX}{self.issued:010d}",
                "SecretAccessKey": f"secret-{self.issued}",
                "Token": f"token-{self.issued}",
                "Expiration": expiration.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        )

    def refuses(self, request: Request) -> bool:
        """Whether the request is signed with a worn key; if not, it wears its key."""
        match = _KEY.search(request.headers.get("authorization", ""))
        if match is None:
            return False
        self._used[match[1]] += 1
        refused = self._used[match[1]] > self._life
        self.refused += refused
        return refused
