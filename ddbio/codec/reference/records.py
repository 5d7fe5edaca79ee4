"""Records to puts: the reference implementation. What it does exactly is told in `reference.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ddbio.codec.faults import refusal
from ddbio.codec.framing import Block
from ddbio.codec.records import EncodedRecord
from ddbio.codec.reference.formats import find_item
from ddbio.codec.reference.keys import Keys, hint_tree
from ddbio.codec.reference.lexical import Fault, skip_space
from ddbio.codec.reference.paths import HintTree
from ddbio.codec.reference.plain import PlainItem
from ddbio.codec.reference.typed import TypedItem
from ddbio.hints import HintType
from ddbio.model import InputFormat, KeyAttribute, Put, Reason, Refused


class RecordEncoder:
    """Turns records into puts for one table.

    `keys` are the key attributes of the table (`required`) and of its indexes; `fmt` the format of the records; `hints`
    the types of a manifest, used for plain JSON. Raises ValueError where the keys contradict each other or a hint's
    path can't be read.
    """

    def __init__(self, keys: Sequence[KeyAttribute], fmt: InputFormat, hints: Mapping[str, HintType]) -> None:
        self._keys = Keys(keys)
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
        typed, inner = find_item(record, self._format, self._keys.rules)
        reader = TypedItem if typed else PlainItem
        return reader(record, self._keys, self._hints).put(inner)

    def _no_object(self, record: bytes, start: int) -> Fault:
        end = skip_space(record, PlainItem(record, self._keys, HintTree()).value(start, 1, None))
        if end != len(record):
            return Fault(Reason.NOT_JSON, end)
        return Fault(Reason.NOT_AN_OBJECT, start)
