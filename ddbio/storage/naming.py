"""Which files are input, told by their names alone."""

from __future__ import annotations

import re

from ddbio.model import Compression

INPUT_ENDINGS = ".json, .jsonl or .ndjson, each plain, .gz or .zst"
"""What is looked for in a folder or under a prefix, in words."""

_INPUT = re.compile(r".+\.(json|jsonl|ndjson)(\.gz|\.zst)?", re.IGNORECASE | re.DOTALL)
_UNFINISHED = re.compile(r"[^_.].*\.json(\.gz|\.zst)?\.\d{8}T\d{6}Z-[0-9a-f]{6}-\d+-\d+\.part", re.DOTALL)


def is_hidden(name: str) -> bool:
    """Whether a file or folder name is left out of a walk, as query engines do."""
    return name.startswith(("_", "."))


def is_input(name: str) -> bool:
    """Whether a file is input by the ending of its name."""
    return _INPUT.fullmatch(name) is not None


def is_seen(name: str) -> bool:
    """Whether a file met on a walk is input; `name` is relative to where the walk began."""
    return is_input(name) and not any(is_hidden(part) for part in name.split("/"))


def is_unfinished(name: str) -> bool:
    """Whether a file is one that an export writes, or wrote until it was killed."""
    return _UNFINISHED.fullmatch(name) is not None


def compression_of(name: str) -> Compression:
    """How a file is compressed, told by its ending."""
    match name.lower().rpartition(".")[2]:
        case "gz":
            return "gzip"
        case "zst":
            return "zstd"
        case _:
            return "none"
