"""What may be sent to S3 once more: after the client's own retries, and for what the client does not repeat.

The client repeats a request whose reply is an overload or a lost connection (`ddbio.aws.session`), for which it has a
limited credit; a body that was spoilt on its way, in either direction, it does not.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ddbio.clock import Clock, sleep
from ddbio.retry import Backoff
from ddbio.storage.s3.errors import may_pass, name_of

T = TypeVar("T")
ATTEMPTS = 5
BACKOFF = Backoff(base=0.25, cap=5.0)
QUIET_SECONDS = 10.0
"""Whoever waits for longer than this is told why."""
log = logging.getLogger("ddbio")


async def insist(send: Callable[[], Awaitable[T]], clock: Clock) -> T:
    """What `send` returns, tried up to `ATTEMPTS` times where the failure may pass; raises what the client raises."""
    began = clock.now()
    for failures in range(ATTEMPTS - 1):
        try:
            return await send()
        except Exception as error:
            if not may_pass(error):
                raise
            waited = clock.now() - began
            log.log(
                logging.WARNING if waited > QUIET_SECONDS else logging.DEBUG,
                "S3 has failed for %.0f seconds (%s): trying again, %d of %d times.",
                waited,
                name_of(error),
                failures + 1,
                ATTEMPTS - 1,
            )
        await sleep(clock, BACKOFF.delay(failures))
    return await send()
