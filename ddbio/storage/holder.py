"""Who holds the lock on a place, as others are told."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime

import msgspec

from ddbio.errors import JobLockedError
from ddbio.unreadable import UNREADABLE


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """The job that holds a lock: its run's id, where its process runs, and since when (UTC, to the second).

    `nonce` and `renewed` tell one lease from another, and from itself a moment ago.
    """

    run: str
    host: str
    pid: int
    since: str
    nonce: str = ""
    renewed: int = 0

    def __str__(self) -> str:
        return f"run {self.run}, process {self.pid} on {self.host}, since {self.since}"


def this_process(run: str, nonce: str = "") -> Holder:
    """The holder that a lock names when this process takes it."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return Holder(run=run, host=socket.gethostname(), pid=os.getpid(), since=since, nonce=nonce)


def is_gone(holder: Holder) -> bool:
    """Whether its process ran on this host and does not any more."""
    if holder.host != socket.gethostname():
        return False
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):  # somebody else's; or no process could have this id
        return False
    return False


def read(data: bytes) -> Holder | None:
    """What a lock says; None where it says nothing (yet) that makes sense."""
    try:
        return msgspec.json.decode(data, type=Holder)
    except UNREADABLE:
        return None


def locked(place: object, holder: Holder | None, hint: str) -> JobLockedError:
    """What a job is told that comes second."""
    return JobLockedError(f"Another job is at work in {place}: {holder or 'nothing more is known of it'}.", hint=hint)
