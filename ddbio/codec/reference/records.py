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
    """One record that can be written, and its state.

    `request`, `key` and `size` are those of `Put`; the record is the `length` bytes at `offset`, in `block`. `owner` is
    the number of its sender, 0 until it is taken off; `written` says whether it was written, and is None until it is
    settled; `returned` is the number of times that the service returned it as unprocessed.
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


# The loops over the records of a batch or block, for the batcher and the watermark. They are part of the codec because
# in Python they take 6 µs more per batch of 25 records, which is 3 to 4% of the CPU time of an import.


def weigh(entries: list[EncodedRecord]) -> tuple[int, int]:
    """The bytes of the requests of these records, and the write units of their items (one for each started 1 KB),
    provided that they replace no larger items.
    """
    return sum(len(entry.request) for entry in entries), sum(-(-entry.size // WRITE_UNIT_BYTES) for entry in entries)


def take_off(
    entries: list[EncodedRecord], flying: dict[bytes, EncodedRecord], owner: int
) -> tuple[list[EncodedRecord], list[EncodedRecord]]:
    """Set the `owner` of these records, and add them by key to those in flight, `flying`. Returns the records whose
    key was free, and the others, which are not added.
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
    """Set whether these records were `written`, and remove them from those in flight. Returns those of their keys that
    are `awaited`, and the number of records by owner.
    """
    for entry in entries:
        entry.written = written
        del flying[entry.key]
    return [entry.key for entry in entries if entry.key in awaited], dict(Counter(entry.owner for entry in entries))


def count_settled(entries: list[EncodedRecord]) -> tuple[int, int]:
    """The number of records before the first that is not settled, and how many of these were written."""
    settled = [entry.written for entry in takewhile(lambda entry: entry.written is not None, entries)]
    return len(settled), settled.count(True)


class RecordEncoder:
    """Turns records into puts for one table.

    `keys` are the key attributes of the table (`required`) and of its indexes, `fmt` is the format of the records, and
    `hints` are the type hints of a manifest, for plain JSON. Raises ValueError where keys contradict each other or the
    path of a hint is malformed.
    """

    def __init__(self, keys: Sequence[KeyAttribute], fmt: InputFormat, hints: Mapping[str, HintType]) -> None:
        self._keys = key_rules(keys)
        self._format = fmt
        self._hints = hint_tree(hints, self._keys)

    def encode(self, record: bytes) -> Put | Refused:
        """Encode one record, given without its newline; surrounding white space is ignored."""
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
        """Encode each line of a block that is not blank. Lines whose data was dropped are left out.

        Returns the records that can be written, and offset, length and reason of the others; both in order.
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
