"""The layout of names: what the files of an export are called, which files are input, and how they are compressed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

from ddbio.model import Compression

TABLE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}")
"""Table names (Developer Guide, "Naming rules"); emulators accept shorter ones than the service does."""
RUN_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
"""Names of runs and workers: they become parts of file names."""
ENDINGS: dict[Compression, str] = {"none": "", "gzip": ".gz", "zstd": ".zst"}
"""What the name of a compressed file ends in."""
LONGEST_STEM = 180
"""File systems allow names of 255 bytes, and an unfinished file's name has about 60 more than the stem."""
INPUT_ENDINGS = ".json, .jsonl or .ndjson, each plain, .gz or .zst"
"""What is looked for in a folder or under a prefix, in words."""

_COMPRESSED = r"(\.gz|\.zst)?"
_NUMBERS = r"-([0-9]{4}|[1-9][0-9]{4,})-([0-9]{5}|[1-9][0-9]{5,})\.json" + _COMPRESSED
_EXPORTED = re.compile(r"[A-Za-z0-9_.-]+" + _NUMBERS)
_INPUT = re.compile(r".+\.(json|jsonl|ndjson)" + _COMPRESSED, re.IGNORECASE | re.DOTALL)
_UNFINISHED = re.compile(r"[^_.].*\.json" + _COMPRESSED + r"\.\d{8}T\d{6}Z-[0-9a-f]{6}-\d+-\d+\.part", re.DOTALL)
_PART = re.compile(r"(?P<name>.+)\.[^./]+\.part", re.DOTALL)


# Files of an export


def stem(table: str) -> str:
    """What the names of a table's files begin with: its name, the end of a very long one replaced by a digest."""
    if len(table) <= LONGEST_STEM:
        return table
    digest = hashlib.sha256(table.encode()).hexdigest()[:8]
    return f"{table[: LONGEST_STEM - len(digest) - 1]}-{digest}"


def file_name(table: str, segment: int, number: int, compression: Compression) -> str:
    """`<Table>-<segment>-<file number>.json`, with the ending of the compression."""
    return f"{stem(table)}-{segment:04d}-{number:05d}.json{ENDINGS[compression]}"


def is_exported(name: str) -> bool:
    """Whether an export of any table could have a file of this name."""
    return _EXPORTED.fullmatch(name) is not None


def is_file_of(table: str) -> Callable[[str], bool]:
    """A predicate for the names that files of this table's exports have."""
    pattern = re.compile(re.escape(stem(table)) + _NUMBERS)
    return lambda name: pattern.fullmatch(name) is not None


# Unfinished files


def part_name(name: str, run: str) -> str:
    return f"{name}.{run}.part"


def final_name(part: str) -> str | None:
    """The final name of an unfinished file; None for any other file."""
    found = _PART.fullmatch(part)
    return found["name"] if found else None


def is_part_of(part: str, name: str) -> bool:
    """Whether this is what the file `name` is called while it is unfinished, in whichever run."""
    if not (part.startswith(f"{name}.") and part.endswith(".part")):
        return False
    return RUN_NAME.fullmatch(part[len(name) + 1 : -len(".part")]) is not None


def is_unfinished(name: str) -> bool:
    """Whether a file is one that a worker of an export writes, or wrote until it was killed."""
    return _UNFINISHED.fullmatch(name) is not None


# Input


def is_hidden(name: str) -> bool:
    """Whether a walk leaves out the file or folder of this name, as query engines do."""
    return name.startswith(("_", "."))


def is_input(name: str) -> bool:
    return _INPUT.fullmatch(name) is not None


def is_seen(name: str) -> bool:
    """Whether a file found by a walk is input; `name` is relative to where the walk began."""
    return is_input(name) and not any(is_hidden(part) for part in name.split("/"))


def compression_of(name: str) -> Compression:
    """How a file is compressed, by the ending of its name, in small or capital letters."""
    lower = name.lower()
    return "gzip" if lower.endswith(ENDINGS["gzip"]) else "zstd" if lower.endswith(ENDINGS["zstd"]) else "none"
