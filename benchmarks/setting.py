"""Where benchmarks run: the wire server, a folder, and which core belongs to whom."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.processes import Outcome, run
from benchmarks.wire.running import WireServer, run_wire_server


@dataclass(frozen=True)
class Setting:
    """What every measurement needs. What is measured runs on `core` alone, where there is one."""

    wire: WireServer
    folder: Path
    core: int | None = None

    def run(self, command: Sequence[str], environment: Mapping[str, str], *, watch: bool = False) -> Outcome:
        """Run a command on the core of what is measured (see `benchmarks.processes.run`)."""
        return run(command, environment, watch=watch, core=self.core)


@contextmanager
def set_up(folder: str | None) -> Iterator[Setting]:
    """Start the wire server. The first core is for what is measured; servers and this process move to the others."""
    # So that servers are stopped where this process is.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    core = None
    if hasattr(os, "sched_getaffinity") and len(cores := os.sched_getaffinity(0)) > 1:
        core = min(cores)
        os.sched_setaffinity(0, cores - {core})
    with TemporaryDirectory(dir=folder) as name, run_wire_server() as wire:
        yield Setting(wire, Path(name), core)
