"""`ddbio` as a person runs it: a process of its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

SECONDS = 60
"""More than any command of these tests takes on a busy machine."""


class Done(NamedTuple):
    """A command that has ended: its exit code, its output, and the lines of standard error that report an error."""

    code: int
    out: bytes
    err: str

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


def ddbio(
    *arguments: str, environment: Mapping[str, str], folder: Path | None = None, stdin: bytes | None = None
) -> Done:
    """Run a command to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "ddbio", *arguments],
        env={**os.environ, **environment},
        cwd=folder,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        check=False,
        timeout=SECONDS,
    )
    return Done(done.returncode, done.stdout, done.stderr.decode())


async def start(*arguments: str, environment: Mapping[str, str], session: bool = False) -> Process:
    """Start a command, beside servers that run in this event loop; with `session`, as the leader of one of its own."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ddbio", *arguments),
        env={**os.environ, **environment},
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=session,
    )


async def end(process: Process) -> Done:
    """Wait for the end of a command."""
    async with asyncio.timeout(SECONDS):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Done(process.returncode, out, err.decode())


def workers(parent: Process) -> list[int]:
    """The process ids of a job's workers."""
    return [int(pid) for pid in Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()]


async def gone(pid: int) -> None:
    """Wait for the end of a process, whoever started it."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def refused(done: Done, code: int, *told: str) -> None:
    """Check that a command has reported in one line that it could do nothing, and printed nothing else."""
    assert (done.code, done.out) == (code, b""), done.err
    assert len(done.errors) == 1, done.err
    assert "Traceback" not in done.err
    for each in told:
        assert each in done.errors[0]
