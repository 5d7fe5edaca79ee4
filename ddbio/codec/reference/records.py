"""Records to puts. The package docstring specifies it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import takewhile

from ddbio.codec.faults import refusal
from ddbio.codec.framing import Block
from ddbio.codec.keys import hint_tree, key_rules
from ddbio.codec.paths import HintTree
from ddbio.codec.reference.formats import find_item
from ddbio.codec.reference.lexical import Fault, skip_space
from ddbio.codec.reference.plain import PlainItem
from ddbio.codec.reference.typed import TypedItem
from ddbio.hints import HintType
from ddbio.model import WRITE_UNIT_BYTES, InputFormat, KeyAttribute, Put, Reason, Refused


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


class RecordEncoder:
    """Turns records into puts for one table.

    `keys` are the key attributes of the table (`required`) and of its indexes; `fmt` the format of the records; `hints`
    the types of a manifest, used for plain JSON. Raises ValueError where the keys contradict each other or a hint's
    path can't be read.
    """

    def __init__(self, keys: Sequence[KeyAttribute], fmt: InputFormat, hints: Mapping[str, HintType]) -> None:
        self._keys = key_rules(keys)
        self._format = fmt
        self._hints = hint_tree(hints, self._keys)

    def encode(self, record: bytes) -> Put | Refused:
        """Encode one record, given without its newline; white space around it is no part of it."""
        if not record.isascii():
            try:
                record.decode()
            except UnicodeDecodeError as error:
                return refusal(Reason.INVALID_UTF8, error.start)
        try:
            return self._put(record)
        except Fault as fault:
            return refusal(fault.reason, fault.position, fault.name)

    def encode_block(self, block: Block) -> tuple[list[EncodedRecord], list[tuple[int, int, Refused]]]:
        """Encode the lines of a block that are not blank, as `encode` does each of them.

        Returns those that can be written, and of the others offset, length and verdict; both in the file's order. Of a
        line that was dropped there is nothing.
        """
        entries, refused = [], []
        for offset, _, data, length in block.records():
            if data:
                put = self.encode(data)
                if isinstance(put, Put):
                    entries.append(EncodedRecord(*put, block, offset, length))
                else:
                    refused.append((offset, length, put))
        return entries, refused

    def _put(self, record: bytes) -> Put:
        start = skip_space(record, 0)
        if record[start : start + 1] != b"{":
            raise self._no_object(record, start)
        typed, inner = find_item(record, self._format, self._keys)
        reader = TypedItem if typed else PlainItem
        return reader(record, self._keys, self._hints).put(inner)

    def _no_object(self, record: bytes, start: int) -> Fault:
        end = skip_space(record, PlainItem(record, self._keys, HintTree()).value(start, 1, None))
        if end != len(record):
            return Fault(Reason.NOT_JSON, end)
        return Fault(Reason.NOT_AN_OBJECT, start)
