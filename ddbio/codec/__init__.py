"""Bytes to bytes, no I/O: Scan replies to records, and records to puts; framing and compression.

`CODEC` tells which implementation serves: `native`, or `reference`, the same functions in Python.
"""

from __future__ import annotations

from ddbio.codec.reference import RecordEncoder, transcode_page

CODEC = "reference"

__all__ = ["CODEC", "RecordEncoder", "transcode_page"]
