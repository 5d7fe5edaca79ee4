"""Files to import: `python -m benchmarks.inputs SHAPE ITEMS FILE` writes so many items, each with a key of its own."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

import msgspec

from ddbio.codec import transcode_page
from tests.servers.items import Shape, make_item

CHUNK = 1000


def write_items(path: Path, shape: Shape, items: int) -> None:
    """JSON lines as an export writes them."""
    with path.open("wb") as out:
        for first in range(0, items, CHUNK):
            count = min(CHUNK, items - first)
            encoded = b",".join(msgspec.json.encode(make_item(shape, 0, first + index)) for index in range(count))
            out.write(
                transcode_page(
                    b'{"Count":%d,"Items":[%b],"ScannedCount":%d}' % (count, encoded, count), "jsonl"
                ).records
            )


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
