"""The wire server as a process of its own, from Python."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from tests.kit.servers.aws import Server
from tests.kit.servers.process import running

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class WireServer:
    """Where it listens."""

    url: str
    tls_url: str
    ca_bundle: str

    def endpoint(self, *, tls: bool = False) -> str:
        """The URL, plain or over TLS."""
        return self.tls_url if tls else self.url

    def environment(self, *, tls: bool = False) -> dict[str, str]:
        """The variables that make a subprocess talk to it, and to nothing else."""
        variables = Server("wire", self.endpoint(tls=tls)).environment()
        return variables | ({"AWS_CA_BUNDLE": self.ca_bundle} if tls else {})

    def counts(self) -> dict[str, int]:
        """`pages` and `items` served and `puts` taken since the start."""
        with urlopen(self.url) as reply:
            counted: dict[str, int] = json.load(reply)
        return counted


@contextmanager
def run_wire_server(*, core: int | None = None, latency_ms: float = 0) -> Iterator[WireServer]:
    """Run it until the block ends, pinned to a core if one is given."""
    command = [sys.executable, "-m", "benchmarks.wire", "--latency-ms", str(latency_ms)]
    command += [] if core is None else ["--core", str(core)]
    with running(command, r"(?P<facts>\{.*\})", {**os.environ, "PYTHONPATH": str(ROOT)}) as match:
        yield WireServer(**json.loads(match["facts"]))
