"""Bytes to bytes, without I/O: Scan replies to records, records to puts, framing and compression.

`CODEC` is the implementation in use: `native`, or, where that was not built, `reference`, which has the same functions
in Python. The environment variable `DDBIO_CODEC` selects one of them.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import TYPE_CHECKING


def _choose(wanted: str) -> tuple[str, ModuleType]:
    if wanted not in ("", "native", "reference"):
        raise ImportError(f"DDBIO_CODEC is {wanted!r}: it must be native or reference")
    if wanted != "reference":
        try:
            return "native", importlib.import_module("ddbio.codec._transcode")
        except ImportError:
            if wanted:
                raise
    return "reference", importlib.import_module("ddbio.codec.reference")


CODEC, _module = _choose(os.environ.get("DDBIO_CODEC", ""))

if TYPE_CHECKING:
    from ddbio.codec.reference import (
        EncodedRecord,
        RecordEncoder,
        count_lines,
        count_settled,
        item_fingerprint,
        settle,
        take_off,
        transcode_page,
        weigh,
    )
else:
    EncodedRecord, RecordEncoder, count_lines = _module.EncodedRecord, _module.RecordEncoder, _module.count_lines
    transcode_page, item_fingerprint, weigh = _module.transcode_page, _module.item_fingerprint, _module.weigh
    take_off, settle, count_settled = _module.take_off, _module.settle, _module.count_settled

__all__ = [
    "CODEC",
    "EncodedRecord",
    "RecordEncoder",
    "count_lines",
    "count_settled",
    "item_fingerprint",
    "settle",
    "take_off",
    "transcode_page",
    "weigh",
]
