"""HTTP/1.1 in one protocol class, as little of it as AWS clients need, kept alive."""

from __future__ import annotations

import asyncio
import re
from typing import cast

import msgspec

from benchmarks.wire.service import Service

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_OPERATION = re.compile(rb"\r\nx-amz-target: *DynamoDB_20120810\.(\w+)", re.IGNORECASE)
_HEAD = (
    b"HTTP/1.1 %d OK\r\nContent-Type: application/x-amz-json-1.0\r\nx-amzn-RequestId: WIRE\r\n"
    b"x-amz-crc32: %d\r\nContent-Length: %d\r\n\r\n"
)


class WireProtocol(asyncio.Protocol):
    """One connection to `service`; every reply waits `latency` seconds."""

    def __init__(self, service: Service, latency: float) -> None:
        self._service = service
        self._latency = latency
        self._received = bytearray()
        self._needed = 0
        """Bytes of the request that is coming in, 0 while its head is not whole."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer when the request is whole. Clients send the next one only after the reply."""
        self._received += data
        if not self._needed:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            length = _LENGTH.search(self._received, 0, end)
            self._body = end + 4
            self._needed = self._body + (int(length[1]) if length else 0)
        if len(self._received) >= self._needed:
            request = bytes(self._received)
            self._received.clear()
            self._needed = 0
            self._answer(request)

    def _answer(self, request: bytes) -> None:
        operation = _OPERATION.search(request, 0, self._body)
        if operation is None:
            self._send(200, (msgspec.json.encode(self._service.counts()),), 0)
        else:
            self._send(*self._service.answer(operation[1], request[self._body :]))

    def _send(self, status: int, parts: tuple[bytes, ...], crc: int) -> None:
        head = _HEAD % (status, crc, sum(map(len, parts)))
        if self._latency:
            asyncio.get_running_loop().call_later(self._latency, self._transport.writelines, (head, *parts))
        else:
            self._transport.writelines((head, *parts))
