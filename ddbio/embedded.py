"""Emulators of DynamoDB and S3 on loopback: moto's server in threads of this process. Requires the extra `demo`."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from ddbio.errors import PreflightError
from ddbio.options import Connection

if TYPE_CHECKING:
    from moto.server import ThreadedMotoServer

HOST = "127.0.0.1"
REGION = "us-east-1"


@asynccontextmanager
async def embedded_aws() -> AsyncIterator[Connection]:
    """Run the server on a free port, and yield the connection options for jobs that use it.

    Its data is lost when the context is left. Raises PreflightError if moto is not installed.
    """
    server = await asyncio.to_thread(_start)
    host, port = server.get_host_and_port()
    try:
        yield Connection(region=REGION, endpoint_url=f"http://{host}:{port}")
    finally:
        await asyncio.to_thread(server.stop)


def _start() -> ThreadedMotoServer:
    try:
        from moto.server import ThreadedMotoServer  # noqa: PLC0415 - optional, and half a second
    except ImportError as error:
        raise PreflightError(
            "The emulators need moto, which is not installed.", hint="Install it: pip install 'moto[server]'"
        ) from error
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(HOST, 0, verbose=False)
    server.start()
    return server


@contextmanager
def aws_settings() -> Iterator[None]:
    """Replace all AWS settings of this process by invented credentials inside the block, to reach no real account."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("AWS_", "BOTO")):
            del os.environ[name]
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "embedded",
        "AWS_SECRET_ACCESS_KEY": "embedded",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": HOST,
        "no_proxy": HOST,
    }
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
