"""Recognising files that are not lines of JSON objects by their first bytes, and what to do with each kind."""

from __future__ import annotations

import csv
import re

HEAD_BYTES = 4096
"""The part of a file that is looked at."""
_LINES = "A line must hold one whole object"
_ROUNDED = "with jq 1.7 or newer, as older ones round long numbers"
_SIGNS: tuple[tuple[bytes, str], ...] = (
    (rb"PK\x03\x04", "The file is a zip archive: unzip it, and import what is in it."),
    (rb".{257}ustar", "The file is a tar archive: unpack it, and import what is in it."),
    (rb"\x1f\x8b", "The file is gzip data: let its name end in .gz, or unpack it first (gzip -dc)."),
    (rb"\x28\xb5\x2f\xfd", "The file is zstd data: let its name end in .zst, or unpack it first (zstd -dc)."),
    (rb"BZh", "The file is bzip2 data: unpack it first (bzip2 -dc)."),
    (rb"\xfd7zXZ\x00", "The file is xz data: unpack it first (xz -dc)."),
    (rb"PAR1", "The file is Parquet, which is not read: make JSON lines of it, an object a line."),
    (rb"\xff\xfe\0\0|\0\0\xfe\xff", "The file is UTF-32: make UTF-8 of it (iconv -f UTF-32 -t UTF-8 FILE)."),
    (rb"\xff\xfe|\xfe\xff", "The file is UTF-16: make UTF-8 of it (iconv -f UTF-16 -t UTF-8 FILE)."),
    (rb"[\[{\"]\0", "The file is UTF-16: make UTF-8 of it (iconv -f UTF-16LE -t UTF-8 FILE)."),
    (rb"\0[\[{\"]", "The file is UTF-16: make UTF-8 of it (iconv -f UTF-16BE -t UTF-8 FILE)."),
    (
        rb'\s*\{\s*"ddbio_manifest"',
        "The file is a manifest of ddbio's, and holds no items: import the folder of the export.",
    ),
    (
        rb'\s*\{.*"(dataFileS3Key|manifestFilesS3Key)"',
        "The file is a manifest of an export by DynamoDB, and holds no items: import the folder data/ beside it.",
    ),
    (
        rb'\s*\{\s*"Items"\s*:\s*\[',
        f"The file is a reply of DynamoDB's. {_LINES}: jq -c '.Items[]' FILE makes such lines ({_ROUNDED}).",
    ),
    (rb"\s*\[\s*(\{|\Z)", f"The file is a JSON array. {_LINES}: jq -c '.[]' FILE makes such lines ({_ROUNDED})."),
)
_SEVERAL = f"The file holds JSON over several lines. {_LINES}: jq -c . FILE makes such lines ({_ROUNDED})."
_CSV = "The file looks like CSV, which is not read: make JSON lines of it, an object a line."


def recognise(head: bytes) -> str | None:
    """Describe the file with these first bytes, whose first record could not be written; None for lines of JSON."""
    head = head.removeprefix(b"\xef\xbb\xbf")
    for sign, told in _SIGNS:
        if re.match(sign, head, re.DOTALL):
            return told
    first = head.partition(b"\n")[0].strip()
    if first.startswith((b"{", b"[")):
        return _SEVERAL if _goes_on(first) else None
    return _CSV if _is_csv(head) else None


def _goes_on(line: bytes) -> bool:
    """Whether an object that begins in this line continues in the next, as in indented JSON."""
    left_open = sum(map(line.count, (b"{", b"["))) > sum(map(line.count, (b"}", b"]")))
    return left_open and line.endswith((b"{", b"[", b","))


def _is_csv(head: bytes) -> bool:
    """Whether the first complete lines have the same number of columns, and more than one."""
    try:
        lines = head[: head.rfind(b"\n") + 1 or None].decode().splitlines()[:2]
    except UnicodeDecodeError:
        return False
    widths = ({len(row) for row in csv.reader(lines, delimiter=mark)} for mark in ",;\t|")
    return any(len(found) == 1 and max(found) > 1 for found in widths)
