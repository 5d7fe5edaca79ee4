"""What a line becomes on its way into the table: the reference implementation."""

from __future__ import annotations

from ddbio.codec.framing import Block


class Entry:
    """One record that can be written, and what has become of it.

    `request`, `key` and `size` are those of `Put`; it is the record of `length` bytes at `offset`, in `block`. Whoever
    sends it notes in the end whether it was `written` (None until then), and how often it was `returned` before.
    """

    __slots__ = ("block", "key", "length", "offset", "request", "returned", "size", "written")

    def __init__(self, request: bytes, key: bytes, size: int, block: Block, offset: int, length: int) -> None:
        self.request = request
        self.key = key
        self.size = size
        self.block = block
        self.offset = offset
        self.length = length
        self.written: bool | None = None
        self.returned = 0
