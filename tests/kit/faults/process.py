"""The fault proxy in a process of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tests.kit.servers.aws import Server
from tests.kit.servers.process import running


@contextmanager
def run_faults(upstream: Server, *arguments: str) -> Iterator[Server]:
    """Run it before `upstream` with the `arguments` of the command line."""
    keys = ("--access-key", upstream.access_key, "--secret-key", upstream.secret_key)
    command = [sys.executable, "-m", "tests.kit.faults", "--upstream", upstream.url, *keys, *arguments]
    with running(command, r"\{.*\}") as line:
        yield replace(upstream, url=json.loads(line[0])["url"])
