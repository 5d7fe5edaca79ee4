"""Servers that run as processes of their own: ports for them, their start, readiness and end."""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import IO

from tests.kit.servers.aws import Server

START_SECONDS = 60.0
STOP_SECONDS = 10.0
ATTEMPTS = 5
PORTS = range(15_000, 22_000)
"""Below the ports that Linux gives to outgoing connections."""
LOCK = Path(tempfile.gettempdir(), f"ddbio-tests-{os.getuid()}.lock")


class StartError(RuntimeError):
    """The process ended before it was ready."""


@contextmanager
def running(
    command: Sequence[str | Path],
    ready: str,
    environment: Mapping[str, str] | None = None,
    *,
    patience: float = STOP_SECONDS,
) -> Iterator[re.Match[str]]:
    """Run `command` until the block ends; entered when a line of its output matches the pattern `ready`.

    Afterwards it has `patience` seconds to end by itself. Raises StartError, with the output, when the process ends
    before it is ready, and TimeoutError after START_SECONDS.
    """
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    assert process.stdout is not None
    found: Future[re.Match[str]] = Future()
    reader = Thread(target=_read_all, args=(process.stdout, ready, found))
    reader.start()
    try:
        yield found.result(START_SECONDS)
    finally:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join()
        process.stdout.close()


@contextmanager
def on_free_ports(ports: Sequence[int], serve: Callable[[int], AbstractContextManager[Server]]) -> Iterator[Server]:
    """Enter `serve(base)`, where every `base + port` of `ports` is free.

    Test runs start their servers one after the other, so that none takes a port that another has found free. A program
    that is no test may still do so: then other ports are tried.
    """
    with ExitStack() as stack:
        with LOCK.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for attempt in range(ATTEMPTS):
                try:
                    server = stack.enter_context(serve(_free_base(ports)))
                    break
                except (StartError, TimeoutError):
                    if attempt == ATTEMPTS - 1:
                        raise
        yield server


@contextmanager
def run_counting(*arguments: str) -> Iterator[Server]:
    """Run the counting server, with the arguments of its command line, in a process of its own."""
    with running([sys.executable, "-m", "tests.kit.servers.counting", *arguments], r"\{.*\}") as line:
        yield Server("counting", json.loads(line[0])["url"])


@contextmanager
def run_faults(upstream: Server, *arguments: str) -> Iterator[Server]:
    """Run the fault proxy in front of `upstream`, with the arguments of its command line, in a process of its own."""
    keys = ("--access-key", upstream.access_key, "--secret-key", upstream.secret_key)
    command = [sys.executable, "-m", "tests.kit.faults", "--upstream", upstream.url, *keys, *arguments]
    with running(command, r"\{.*\}") as line:
        yield replace(upstream, url=json.loads(line[0])["url"])


def _read_all(output: IO[str], ready: str, found: Future[re.Match[str]]) -> None:
    """Read until the end, so that the process never waits for a reader."""
    seen = []
    for line in output:
        if found.done():
            continue
        seen.append(line)
        if match := re.search(ready, line):
            found.set_result(match)
    if not found.done():
        found.set_exception(StartError(f"the server did not start:\n{''.join(seen)}"))


def _free_base(ports: Sequence[int]) -> int:
    while True:
        base = random.choice(PORTS)
        if all(_is_free(base + port) for port in ports):
            return base


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
