"""Bytes to bytes, no I/O: Scan replies to records, and records to puts; framing and compression.

`CODEC` tells which implementation serves: `native`, or `reference`, the same functions in Python, where the native one
was not built. The environment variable `DDBIO_CODEC` names the one that must be taken.
"""

from __future__ import annotations

import os
from typing import Literal

_wanted = os.environ.get("DDBIO_CODEC", "")
if _wanted not in ("", "native", "reference"):
    raise ImportError(f"DDBIO_CODEC is {_wanted!r}: it must be native or reference")

CODEC: Literal["native", "reference"]
if _wanted == "reference":
    from ddbio.codec.reference import RecordEncoder, transcode_page

    CODEC = "reference"
else:
    try:
        from ddbio.codec._transcode import RecordEncoder, transcode_page

        CODEC = "native"
    except ImportError:
        if _wanted:
            raise
        from ddbio.codec.reference import RecordEncoder, transcode_page

        CODEC = "reference"

__all__ = ["CODEC", "RecordEncoder", "transcode_page"]
