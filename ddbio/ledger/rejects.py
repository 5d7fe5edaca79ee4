"""The rejects file: one JSON line for each record that could not be written, durable before the job moves past it."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from ddbio.errors import DestinationError
from ddbio.ledger.entries import Reject


class RejectsFile:
    """Adds rejects to `path`; the file and its folder are made with the first one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def add(self, rejects: Iterable[Reject]) -> None:
        """Write these rejects durably; raises DestinationError where that can't be done."""
        lines = b"".join(_line(reject) for reject in rejects)
        if not lines:
            return
        try:
            await asyncio.to_thread(self._append, lines)
        except OSError as error:
            raise DestinationError(
                f"The rejects file {self.path} can't be written: {error.strerror}.", hint="Give another with --rejects."
            ) from error

    def _append(self, lines: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())


def _line(reject: Reject) -> bytes:
    fields: dict[str, Any] = {
        "ddbio_reject": 1,
        "source": reject.source,
        "offset": reject.offset,
        "length": reject.length,
        "line": reject.line,
        "reason": reject.reason,
        "message": reject.message,
    }
    try:
        fields["raw"] = None if reject.raw is None else reject.raw.decode()
    except UnicodeDecodeError:
        fields["raw_base64"] = base64.b64encode(reject.raw or b"").decode()
    return msgspec.json.encode(fields) + b"\n"
