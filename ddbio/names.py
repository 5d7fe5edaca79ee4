"""What the files of an export are called, and which names are safe to use."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

TABLE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}")
"""Table names (Developer Guide, "Naming rules"); emulators take shorter ones than the service does."""
RUN_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
"""Names of runs and workers: they become parts of file names."""
ENDINGS = {"none": "", "gzip": ".gz", "zstd": ".zst"}
"""What the name of a compressed file ends in."""
LONGEST_STEM = 180
"""File systems take names of 255 bytes, and an unfinished file's name has about 60 more than the stem."""
_NUMBERS = r"-([0-9]{4}|[1-9][0-9]{4,})-([0-9]{5}|[1-9][0-9]{5,})\.json(\.gz|\.zst)?"
_EXPORTED = re.compile(r"[A-Za-z0-9_.-]+" + _NUMBERS)


def stem(table: str) -> str:
    """What the names of a table's files begin with: its name, the end of a very long one replaced by a digest."""
    if len(table) <= LONGEST_STEM:
        return table
    digest = hashlib.sha256(table.encode()).hexdigest()[:8]
    return f"{table[: LONGEST_STEM - len(digest) - 1]}-{digest}"


def file_name(table: str, segment: int, number: int, compression: str) -> str:
    """`<Table>-<segment>-<file number>.json`, with the compression's ending."""
    return f"{stem(table)}-{segment:04d}-{number:05d}.json{ENDINGS[compression]}"


def is_exported(name: str) -> bool:
    """Whether an export of any table could have a file of this name."""
    return _EXPORTED.fullmatch(name) is not None


def is_file_of(table: str) -> Callable[[str], bool]:
    """What tells the names that files of this table's exports have from all others."""
    pattern = re.compile(re.escape(stem(table)) + _NUMBERS)
    return lambda name: pattern.fullmatch(name) is not None


def part_name(name: str, run: str) -> str:
    """What a file is called while it is unfinished."""
    return f"{name}.{run}.part"


def is_part_of(part: str, name: str) -> bool:
    """Whether this is what the file `name` is called while it is unfinished, in whichever run."""
    if not (part.startswith(f"{name}.") and part.endswith(".part")):
        return False
    return RUN_NAME.fullmatch(part[len(name) + 1 : -len(".part")]) is not None
