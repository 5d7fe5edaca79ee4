"""Encoding: the lines of a block into records to be written. The lines of a rejects file are unwrapped."""

from __future__ import annotations

from typing import NamedTuple

from ddbio.codec import EncodedRecord, RecordEncoder
from ddbio.codec.framing import Block, Record
from ddbio.ledger.rejects import MARK, unwrap
from ddbio.model import Put, Reason, Refused
from ddbio.pipeline.importing.reading import MAX_RECORD

TOO_LONG = Refused(
    Reason.RECORD_TOO_LONG, MAX_RECORD, f"The record is longer than {MAX_RECORD:,} bytes; no request can hold it."
)
_MARKED_LINE = b"\n" + MARK


class Encoded(NamedTuple):
    """The records of a block that can be written, and the others with the reason; both in the order of the file."""

    entries: list[EncodedRecord]
    refused: list[tuple[Record, Refused]]


def encode_block(encoder: RecordEncoder, block: Block) -> Encoded:
    if not block.data:
        return Encoded([], [(block.record(block.offset, block.length), TOO_LONG)])
    if block.data.startswith(MARK) or _MARKED_LINE in block.data:
        return _take_back(encoder, block)
    entries, refused = encoder.encode_block(block)
    return Encoded(entries, [(block.record(offset, length), verdict) for offset, length, verdict in refused])


def _take_back(encoder: RecordEncoder, block: Block) -> Encoded:
    """Encode the records inside the lines of a rejects file; their positions are those of the lines."""
    encoded = Encoded([], [])
    for record in block.records():
        raw = unwrap(record.data)
        if isinstance(raw, Refused):
            encoded.refused.append((record, raw))
            continue
        put = encoder.encode(raw)
        if isinstance(put, Put):
            inner = Block(record.offset, record.line, raw, record.length - len(raw))
            encoded.entries.append(EncodedRecord(*put, inner, record.offset, record.length))
        else:
            encoded.refused.append((record._replace(data=raw), put))
    return encoded
