"""The content of a lock: the job that holds it."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime

import msgspec

from ddbio.errors import JobLockedError
from ddbio.unreadable import UNREADABLE


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """The job that holds a lock: the id of its run, its host and process, and since when (UTC, to the second).

    `nonce` differs for each lock that is taken, and `renewed` counts how often it was written.
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
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return Holder(run=run, host=socket.gethostname(), pid=os.getpid(), since=since, nonce=nonce)


def is_gone(holder: Holder) -> bool:
    """Whether its process ran on this host and has ended."""
    try:
        if holder.host == socket.gethostname():
            os.kill(holder.pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):  # another user's, or an id that no process can have
        pass
    return False


def read(data: bytes) -> Holder | None:
    """The holder that a lock names; None where it is unreadable, or not written yet."""
    try:
        return msgspec.json.decode(data, type=Holder)
    except UNREADABLE:
        return None


def locked(location: object, holder: Holder | None, hint: str) -> JobLockedError:
    who = holder or "nothing more is known of it"
    return JobLockedError(f"Another job is at work in {location}: {who}.", hint=hint)
