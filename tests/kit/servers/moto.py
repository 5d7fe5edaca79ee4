"""moto's server, in a thread of this process: DynamoDB and S3.

Quirks: accepts 26-item batches, put and delete of one key, 1 and 1.0 as different keys, 39 digits, 1E126 and duplicate
sets; does not normalise numbers; refuses an item of exactly 409,600 bytes; consumed capacity is always 1.0; closes the
connection after each reply; a short last page has no LastEvaluatedKey; verifies neither signatures nor checksums.
"""

from __future__ import annotations

import logging
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from moto.server import ThreadedMotoServer

from tests.kit.servers.aws import Server


@contextmanager
def run_moto() -> Iterator[Server]:
    """Run it on a free port; it logs no requests."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield Server("moto", f"http://{host}:{port}")
    finally:
        server.stop()


def reset(server: Server) -> None:
    """Forget every table and bucket."""
    with urllib.request.urlopen(urllib.request.Request(f"{server.url}/moto-api/reset", method="POST")):
        pass
