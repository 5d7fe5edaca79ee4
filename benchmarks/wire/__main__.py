"""The wire server by hand: one JSON line with its URLs when it listens, then until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import ssl
import tempfile
from pathlib import Path

import uvloop

from benchmarks.wire.protocol import WireProtocol
from benchmarks.wire.service import Service
from tests.kit.servers.certificate import write_certificate


async def serve(options: argparse.Namespace, certificate: Path) -> None:
    """Listen, plain and over TLS, until a signal."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    service = Service()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def connected() -> WireProtocol:
        return WireProtocol(service, options.latency_ms / 1000)

    plain = await loop.create_server(connected, "127.0.0.1", options.port)
    tls = await loop.create_server(connected, "127.0.0.1", options.tls_port, ssl=context)
    ports = [server.sockets[0].getsockname()[1] for server in (plain, tls)]
    urls = {"url": f"http://127.0.0.1:{ports[0]}", "tls_url": f"https://127.0.0.1:{ports[1]}"}
    print(json.dumps({**urls, "ca_bundle": str(certificate)}), flush=True)
    await stopped.wait()
    plain.close()
    tls.close()


def main() -> None:
    """Parse the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wire", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls-port", type=int, default=0)
    parser.add_argument("--core", type=int, help="pin the server to this core (Linux)")
    parser.add_argument("--latency-ms", type=float, default=0, help="how long every reply waits")
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    with tempfile.TemporaryDirectory() as folder:
        certificate = Path(folder, "certificate.pem")
        write_certificate(certificate)
        uvloop.run(serve(options, certificate))


if __name__ == "__main__":
    main()
