"""How fast the codec is, native against reference, in CPU time on this core.

    python -m benchmarks.codec [--seconds 2] [--json]

Each figure is the best of as many runs as fit into `--seconds`: pages in GB of page bytes per CPU second, records in
thousands of items per CPU second. The items are about 150 bytes, about 700 bytes nested, and about 200 KB of text.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import random
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

from ddbio.codec import reference
from ddbio.codec.framing import LineFramer
from ddbio.model import KeyAttribute, OutputFormat

KEYS = (KeyAttribute("hash", "S", 2048), KeyAttribute("range", "S", 1024))
FORMATS: tuple[OutputFormat, ...] = ("jsonl", "dynamodb-json")
PAGE_BYTES = 1_050_000


def small(chance: random.Random) -> dict[str, Any]:
    """Four attributes, three strings and a number."""
    return {
        "hash": {"S": f"{chance.getrandbits(128):032x}"},
        "range": {"S": f"{chance.getrandbits(64):016x}"},
        "val_1": {"N": str(chance.randrange(10**9))},
        "val_2": {"S": f"lorem ipsum dolor sit amet consectetur adipiscing elit {chance.randrange(10**6):06d}"},
    }


def nested(chance: random.Random) -> dict[str, Any]:
    """Maps, lists, sets, binary, and text with escapes."""
    lines = [
        {"M": {"sku": {"S": f"sku-{chance.randrange(10**6)}"}, "amount": {"N": f"{chance.random():.4f}"}}}
        for _ in range(4)
    ]
    return {
        **small(chance),
        "address": {
            "M": {"street": {"S": '1 "Main" Street\n'}, "zip": {"S": "12345"}, "geo": {"NS": ["1.5", "-2.25"]}}
        },
        "lines": {"L": lines},
        "tags": {"SS": ["red", "grün", "blau"]},
        "digest": {"B": "c2hhLTI1Ng=="},
        "active": {"BOOL": True},
        "deleted": {"NULL": True},
    }


def large(chance: random.Random) -> dict[str, Any]:
    """One long text, a tenth of it not ASCII."""
    return {**small(chance), "text": {"S": "".join(chance.choices("abcdefghijklmnopqr ü", k=195_000))}}


SHAPES = {"small": small, "nested": nested, "large": large}


def page_of(shape: Callable[[random.Random], dict[str, Any]]) -> tuple[bytes, int]:
    """A Scan reply of about 1 MB of such items, and how many there are."""
    chance = random.Random(1)
    texts: list[bytes] = []
    while sum(map(len, texts[:1])) * len(texts) < PAGE_BYTES:
        texts.append(json.dumps(shape(chance), separators=(",", ":"), ensure_ascii=False).encode())
    head = b'{"ConsumedCapacity":{"CapacityUnits":128.5,"TableName":"table"},"Count":%d,"Items":[' % len(texts)
    tail = b'],"LastEvaluatedKey":{"hash":{"S":"x"},"range":{"S":"y"}},"ScannedCount":%d}' % len(texts)
    return head + b",".join(texts) + tail, len(texts)


def best(run: Callable[[], object], seconds: float) -> float:
    """The least CPU time of one run, of those that fit into so many seconds (three at least)."""
    times: list[float] = []
    end = time.monotonic() + seconds
    while len(times) < 3 or time.monotonic() < end:
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def encode_all(codec: ModuleType, records: list[bytes]) -> Callable[[], object]:
    """A run over all records, with nothing in it but the encoder."""
    encode = codec.RecordEncoder(KEYS, "auto", {}).encode

    def run() -> None:
        for record in records:
            encode(record)

    return run


def frame_all(content: bytes) -> Callable[[], object]:
    """A run of the line framer over a file's content, in chunks of 1 MB."""

    def run() -> None:
        framer = LineFramer(limit=1 << 22)
        for start in range(0, len(content), 1 << 20):
            framer.feed(content[start : start + (1 << 20)])
        framer.end()

    return run


def measure(codec: ModuleType, seconds: float) -> list[dict[str, Any]]:
    """One row for each shape and format."""
    rows = []
    for shape, make in SHAPES.items():
        body, items = page_of(make)
        for fmt in FORMATS:
            page = best(lambda body=body, fmt=fmt: codec.transcode_page(body, fmt), seconds)  # type: ignore[misc]
            printed = best(lambda body=body, fmt=fmt: codec.transcode_page(body, fmt, True), seconds)  # type: ignore[misc]
            records = codec.transcode_page(body, fmt).records.splitlines()
            put = best(encode_all(codec, records), seconds)
            rows.append(
                {
                    "codec": codec.__name__.rpartition(".")[2].replace("_transcode", "native"),
                    "shape": shape,
                    "format": fmt,
                    "page_gb_per_second": round(len(body) / page / 1e9, 3),
                    "page_milliseconds": round(page * 1e3, 3),
                    "fingerprint_milliseconds": round((printed - page) * 1e3, 3),
                    "puts_thousands_per_second": round(items / put / 1e3, 1),
                }
            )
    return rows


def codecs() -> list[ModuleType]:
    """The implementations that there are."""
    found = [reference]
    with contextlib.suppress(ImportError):
        found.insert(0, importlib.import_module("ddbio.codec._transcode"))
    return found


def measure_all(seconds: float, *, slow: bool = True) -> list[dict[str, Any]]:
    """The rows of the native codec, and with `slow` of the reference, which gets no more than three runs a figure."""
    chosen = codecs() if slow else codecs()[:1]
    return [row for codec in chosen for row in measure(codec, 0 if codec is reference else seconds)]


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each figure")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = measure_all(options.seconds)
    lines = reference.transcode_page(page_of(small)[0], "jsonl")
    framing = best(frame_all(lines.records), options.seconds) / lines.items
    if options.json:
        print(json.dumps({"codec": rows, "framing_nanoseconds_per_record": round(framing * 1e9)}, indent=1))
        return
    print(
        f"{'codec':10} {'shape':7} {'format':14} {'page GB/s':>10} {'page ms':>9} {'print ms':>9} {'1000 puts/s':>12}"
    )
    for row in rows:
        print(
            f"{row['codec']:10} {row['shape']:7} {row['format']:14} {row['page_gb_per_second']:10} "
            f"{row['page_milliseconds']:9} {row['fingerprint_milliseconds']:9} {row['puts_thousands_per_second']:12}"
        )
    print(f"framing: {framing * 1e9:.0f} ns a record")


if __name__ == "__main__":
    main()
