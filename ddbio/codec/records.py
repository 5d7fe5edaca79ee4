"""What a line becomes on its way into the table: the reference implementation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import takewhile

from ddbio.codec.framing import Block
from ddbio.model import WRITE_UNIT_BYTES


class EncodedRecord:
    """One record that can be written, and what has become of it.

    `request`, `key` and `size` are those of `Put`; it is the record of `length` bytes at `offset`, in `block`. Whoever
    sends it notes the number of its `owner` first (0 until then), in the end whether it was `written` (None until
    then), and how often it was `returned` before.
    """

    __slots__ = ("block", "key", "length", "offset", "owner", "request", "returned", "size", "written")

    def __init__(self, request: bytes, key: bytes, size: int, block: Block, offset: int, length: int) -> None:
        self.request = request
        self.key = key
        self.size = size
        self.block = block
        self.offset = offset
        self.length = length
        self.written: bool | None = None
        self.returned = 0
        self.owner = 0


def weigh(entries: list[EncodedRecord]) -> tuple[int, int]:
    """How many bytes the requests of these entries have, and how many write units their items cost (one for each 1 KB
    or part of it), where they replace none that is larger.
    """
    return sum(len(entry.request) for entry in entries), sum(-(-entry.size // WRITE_UNIT_BYTES) for entry in entries)


def take_off(
    entries: list[EncodedRecord], flying: dict[bytes, EncodedRecord], owner: int
) -> tuple[list[EncodedRecord], list[EncodedRecord]]:
    """Note the `owner` of the entries, and add them to those `flying`, by key. Returns those whose key was free, and
    the others, which are not added.
    """
    ready: list[EncodedRecord] = []
    held: list[EncodedRecord] = []
    for entry in entries:
        entry.owner = owner
        (ready if flying.setdefault(entry.key, entry) is entry else held).append(entry)
    return ready, held


def settle(
    entries: list[EncodedRecord], written: bool, flying: dict[bytes, EncodedRecord], awaited: Mapping[bytes, object]
) -> tuple[list[bytes], dict[int, int]]:
    """Note whether the entries were `written`, and take them out of those `flying`. Returns their keys that are
    `awaited`, and how many of them each owner has.
    """
    for entry in entries:
        entry.written = written
        del flying[entry.key]
    return [entry.key for entry in entries if entry.key in awaited], dict(Counter(entry.owner for entry in entries))


def count_settled(entries: list[EncodedRecord]) -> tuple[int, int]:
    """How many of these entries come before the first that is not settled, and how many of those are written."""
    settled = [entry.written for entry in takewhile(lambda entry: entry.written is not None, entries)]
    return len(settled), settled.count(True)
