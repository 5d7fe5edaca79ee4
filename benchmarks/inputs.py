"""Files to import: `python -m benchmarks.inputs SHAPE ITEMS FILE` writes so many items, each with a key of its own."""

from __future__ import annotations

import argparse
from functools import cache
from pathlib import Path
from typing import get_args

from benchmarks.wire.tables import page_of
from ddbio.codec import transcode_page
from ddbio.model import OutputFormat
from tests.kit.servers.items import Shape

KEY = b'{"pk":"k%012d'


@cache
def page_records(shape: Shape, format: OutputFormat = "jsonl") -> bytes:  # noqa: A002 - the codec's word
    """The lines that an export makes of one canned page."""
    page = page_of(shape)
    return transcode_page(b'%b,"ScannedCount":%d}' % (page.head.content, page.items), format).records


def write_items(path: Path, shape: Shape, items: int) -> None:
    """JSON lines as an export writes them: those of one canned page again and again, but for the partition key."""
    lines = page_records(shape).splitlines(keepends=True)
    rests = [line.removeprefix(KEY % number) for number, line in enumerate(lines)]
    with path.open("wb") as out:
        out.writelines(KEY % number + rests[number % len(rests)] for number in range(items))


def main() -> None:
    """Parse the arguments and write the file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inputs", description=__doc__)
    parser.add_argument("shape", choices=get_args(Shape))
    parser.add_argument("items", type=int)
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    write_items(options.file, options.shape, options.items)


if __name__ == "__main__":
    main()
