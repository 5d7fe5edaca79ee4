"""SIGUSR1 pauses and resumes a running job."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from ddbio.capacity import Control
from ddbio.events import Observer
from ddbio.jobs.control_file import pause

T = TypeVar("T")


async def pausable(job: Coroutine[Any, Any, T], control: Control, observer: Observer) -> T:
    """Run `job`; each SIGUSR1 pauses or resumes it."""
    loop = asyncio.get_running_loop()

    if not hasattr(signal, "SIGUSR1"):  # Windows
        return await job
    loop.add_signal_handler(signal.SIGUSR1, lambda: pause(control, observer, not control.paused))
    try:
        return await job
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # a late signal must not end a finished process
