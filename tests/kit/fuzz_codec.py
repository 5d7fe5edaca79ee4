"""Fuzz the native codec against its oracle, under AddressSanitizer.

    python tests/kit/fuzz_codec.py --asan --cases 1000000

builds the extension with the sanitizer (and with rooms of exactly the size that it reckons with) in a temporary folder,
runs itself anew with it, and compares every outcome with the reference codec's. Without `--asan`, the codec that is
installed is taken. `--seed` repeats a run; a case that differs is printed with all that it needs.
"""

from __future__ import annotations

import argparse
import base64
import importlib
import itertools
import json
import os
import random
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import ddbio.codec  # noqa: E402
from ddbio.codec import reference  # noqa: E402
from ddbio.codec.framing import Block  # noqa: E402
from ddbio.hints import HintType  # noqa: E402
from ddbio.model import InputFormat, KeyAttribute, MalformedPageError, Page, Put  # noqa: E402

FORMATS: tuple[InputFormat, ...] = ("auto", "auto", "auto", "jsonl", "dynamodb-json")
KEYS = (
    (KeyAttribute("pk", "S", 2048), KeyAttribute("sk", "N", 1024)),
    (KeyAttribute("pk", "S", 40), KeyAttribute("sk", "N", 1024), KeyAttribute("b", "B", 5, required=False)),
    (KeyAttribute("sk", "N", 1024), KeyAttribute("Item", "S", 20, required=False)),
)
HINTS: tuple[dict[str, HintType], ...] = (
    {},
    {"a": "SS", "b": "B", "c": "NS", "c[]": "BS", "b.a": "NS", "b[].a": "SS", "pk": "B"},
    {"a[][]": "NS", "a.b": "BS", "c": "BS", **{f"{'n' * (number % 3)}{number}": "SS" for number in range(30)}},
)
NAMES = ("a", "b", "c", "pk", "sk", "Item", "S", "N", "M", "n1", "nn2", "ä", "😀.[]", "a long name of twenty bytes", "")
WORDS = r"""
    { } [ ] , : " \ + - . e E 0 1 9 true false null "S": "N": "B": "BOOL": "NULL": "M": "L": "SS": "NS": "BS":
    "pk": "sk": "Item":{ \u0000 \ud83d \ude00 \u00e4 \n {"S":" "} "" "a":1, "a":{"NULL":true}, e125 E-130 QQ== Q é € 😀
    "Items":[ "Count":1 "LastEvaluatedKey":{ "ConsumedCapacity":{"CapacityUnits":1.5}
"""
PIECES = (*WORDS.split(), "\n", " ", "\t", "\0", "\x1f", "\x7f", "1" * 38, "1" * 40, "0" * 50, "[" * 34, '{"L":[' * 33)
SPOILS = (*(piece.encode() for piece in PIECES), b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82")


class Source:
    """Items, and texts of them in all spellings."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def string(self) -> str:
        length = self.random.choice((0, 1, 1, 3, 8, 15, 16, 17, 31, 40, 40, self.random.randrange(400)))
        return "".join(self.random.choices('abcxyz019 /\\"\n\x00äß€😀', k=length))

    def number(self) -> str:
        choice = self.random.random()
        if choice < 0.4:
            return str(self.random.randint(-1000, 1000))
        digits = "".join(self.random.choices("0012379", k=self.random.choice((1, 2, 5, 20))))
        spelled = self.random.choice(("", "-")) + (digits.lstrip("0") or "0")
        if choice > 0.6:
            spelled += "." + "".join(self.random.choices("0015", k=self.random.choice((1, 3, 18))))
        if choice > 0.8:
            spelled += self.random.choice(("e", "E", "e+", "e-0", "E-")) + str(self.random.choice((0, 1, 9, 90)))
        return spelled if choice < 0.99 else self.random.choice(("1e125", "-1E-130", "1e126", "9" * 38, "9" * 39))

    def binary(self) -> str:
        good = base64.b64encode(self.random.randbytes(self.random.choice((0, 1, 2, 3, 17)))).decode()
        return good if self.random.random() < 0.98 else self.random.choice(("QR==", "QQ", "QQ=", "Q*==", "===="))

    def value(self, level: int) -> dict[str, Any]:
        kind = self.random.choice(("S", "S", "N", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS"))
        size = self.random.choice((0, 1, 1, 2, 3, 10)) if level < 3 else 0
        scalar = {"S": self.string, "N": self.number, "B": self.binary}
        match kind:
            case "M":
                return {"M": {self.name(): self.value(level + 1) for _ in range(size)}}
            case "L":
                return {"L": [self.value(level + 1) for _ in range(size)]}
            case "SS" | "NS" | "BS":
                elements = [scalar[kind[0]]() for _ in range(size or 1)]
                return {kind: elements if self.random.random() < 0.05 else list(dict.fromkeys(elements))}
            case "BOOL":
                return {"BOOL": self.random.random() < 0.5}
            case "NULL":
                return {"NULL": True}
            case _:
                return {kind: scalar[kind]()}

    def name(self) -> str:
        return self.random.choice(NAMES) if self.random.random() < 0.8 else self.string()

    def item(self) -> dict[str, Any]:
        members = [(self.name(), self.value(1)) for _ in range(self.random.choice((0, 1, 1, 2, 3, 10)))]
        members += [("pk", {"S": self.string() or "k"}), ("sk", {"N": self.number()})]
        self.random.shuffle(members)
        return dict(members)

    def plain(self, value: dict[str, Any]) -> str:
        ((kind, content),) = value.items()
        match kind:
            case "N":
                return str(content)
            case "NULL":
                return "null"
            case "NS":
                return f"[{','.join(content)}]"
            case "L":
                return f"[{','.join(map(self.plain, content))}]"
            case "M":
                return self.plain_object(content)
            case _:
                return self.json(content)

    def plain_object(self, members: dict[str, Any]) -> str:
        return "{" + ",".join(f"{self.json(name)}:{self.plain(value)}" for name, value in members.items()) + "}"

    def json(self, value: Any) -> str:
        separators = self.random.choice(((",", ":"), (",", ":"), (", ", ": "), ("\n,\t", " : ")))
        return json.dumps(value, ensure_ascii=self.random.random() < 0.5, separators=separators)

    def record(self) -> bytes:
        item = self.item()
        form = self.random.random()
        text = self.plain_object(item) if form < 0.5 else self.json(item if form < 0.75 else {"Item": item})
        return text.encode()

    def page(self) -> bytes:
        found = [self.item() for _ in range(self.random.choice((0, 1, 1, 3)))]
        members = [("Items", found), ("Count", len(found)), ("ScannedCount", 7), ("Other", [{"x": [1.5, None, "y"]}])]
        members += [
            ("LastEvaluatedKey", {"pk": {"S": self.string()}}),
            ("ConsumedCapacity", {"TableName": "t", "CapacityUnits": 128.5}),
        ]
        self.random.shuffle(members)
        return self.json(dict(members)).encode()

    def spoiled(self, text: bytes) -> bytes:
        for _ in range(self.random.choice((0, 0, 1, 1, 1, 2, 5))):
            start = self.random.randint(0, len(text))
            stop = start + self.random.choice((0, 0, 0, 1, 1, 2, 5, 20))
            middle = self.random.choice((b"", text[start:stop] * 2, *self.random.choices(SPOILS, k=4)))
            text = text[:start] + middle + text[stop:]
        return text[: self.random.randint(0, len(text))] if self.random.random() < 0.1 else text


class Fuzzer:
    """Runs cases and counts what came of them."""

    def __init__(self, native: ModuleType, seed: int) -> None:
        self.native = native
        self.source = Source(seed)
        self.outcomes: Counter[str] = Counter()
        self.encoders = [
            ([codec.RecordEncoder(*options) for codec in (reference, native)], options)
            for options in itertools.product(KEYS, FORMATS, HINTS)
        ]

    def run(self, cases: int) -> None:
        done = 0
        while done < cases:
            text = self.source.record() if done % 3 else self.source.page()
            check = self.check_record if done % 3 else self.check_page
            for _ in range(20):
                check(self.source.spoiled(text))
            done += 20
            if done % 50_000 < 20:
                print(f"{done} cases", file=sys.stderr, flush=True)

    def check_record(self, record: bytes) -> None:
        encoders, options = self.source.random.choice(self.encoders)
        expected, found = (encoder.encode(record) for encoder in encoders)
        self.compare(expected, found, (record, *options))
        self.check_block(encoders, b"\n".join(self.source.random.sample([record, b" ", record[::-1]], 3)))
        self.outcomes["put" if isinstance(expected, Put) else str(expected.reason)] += 1

    def check_block(self, encoders: Sequence[reference.RecordEncoder], lines: bytes) -> None:
        block = Block(0, None, lines)
        expected, found = (
            ([(entry.offset, entry.length, entry.request, entry.key, entry.size) for entry in entries], refused)
            for entries, refused in (encoder.encode_block(block) for encoder in encoders)
        )
        self.compare(expected, found, lines)
        told = [
            self.flight(codec, encoder.encode_block(Block(0, None, lines + b"\n" + lines))[0])
            for codec, encoder in zip((reference, self.native), encoders, strict=True)
        ]
        self.compare(told[0], told[1], lines)

    @staticmethod
    def flight(codec: ModuleType, entries: list[reference.EncodedRecord]) -> object:
        """What is told of entries that take off, and of which all but the last one land."""
        flying: dict[bytes, reference.EncodedRecord] = {}
        ready, held = codec.take_off(entries, flying, 1)
        told = codec.settle(ready[:-1], True, flying, {entry.key: None for entry in held})
        left = [entry.offset for entry in flying.values()]
        return len(ready), len(held), told, left, codec.count_settled(entries), codec.weigh(entries)

    def check_page(self, body: bytes) -> None:
        fmt = self.source.random.choice(("jsonl", "dynamodb-json"))
        fingerprint = self.source.random.random() < 0.5
        expected, found = (self.page(codec, body, fmt, fingerprint) for codec in (reference, self.native))
        self.compare(expected, found, (body, fmt, fingerprint))
        self.outcomes["page" if isinstance(expected, Page) else "malformed page"] += 1

    @staticmethod
    def page(codec: ModuleType, body: bytes, fmt: str, fingerprint: bool) -> Page | str:
        try:
            page: Page = codec.transcode_page(body, fmt, fingerprint)
        except MalformedPageError as error:
            return str(error)
        return page

    @staticmethod
    def compare(expected: object, found: object, case: object) -> None:
        if found != expected or type(found) is not type(expected):
            raise SystemExit(f"the codecs differ\ncase: {case!r}\nreference: {expected!r}\nnative: {found!r}")


def build_with_sanitizer(folder: Path) -> None:
    """Compile the extension into `folder`, with the sanitizer and without any room to spare."""
    source = ROOT / "ddbio" / "codec" / "_transcode.pyx"
    compiled = folder / "_transcode.c"
    subprocess.run([sys.executable, "-m", "cython", "-3", str(source), "-o", str(compiled)], check=True)
    flags = "-g -O1 -shared -fPIC -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
    exact = "-DDDBIO_SMALL_RECORD=-1"
    target = folder / f"_transcode{sysconfig.get_config_var('EXT_SUFFIX')}"
    includes = [f"-I{source.parent}", f"-I{sysconfig.get_path('include')}"]
    subprocess.run(["gcc", *flags.split(), exact, *includes, str(compiled), "-o", str(target)], check=True)


def run_with_sanitizer(arguments: list[str]) -> int:
    """Build, and run this file anew in a process that has the sanitizer's library."""
    with tempfile.TemporaryDirectory() as folder:
        build_with_sanitizer(Path(folder))
        libraries = [
            subprocess.run(
                ["gcc", f"-print-file-name={name}.so"], check=True, capture_output=True, text=True
            ).stdout.strip()
            for name in ("libasan", "libubsan")
        ]
        environment = os.environ | {
            "LD_PRELOAD": " ".join(libraries),
            "ASAN_OPTIONS": "detect_leaks=0",
            "PYTHONMALLOC": "malloc",
            "DDBIO_CODEC": "reference",
        }
        command = [sys.executable, __file__, *arguments, "--folder", folder]
        return subprocess.run(command, check=False, env=environment).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=random.randrange(10**9))
    parser.add_argument("--asan", action="store_true", help="build and use an extension with AddressSanitizer")
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.asan:
        return run_with_sanitizer(["--cases", str(options.cases), "--seed", str(options.seed)])
    if options.folder:
        ddbio.codec.__path__.insert(0, options.folder)
    fuzzer = Fuzzer(importlib.import_module("ddbio.codec._transcode"), options.seed)
    fuzzer.run(options.cases)
    print(f"{options.cases} cases with seed {options.seed}: no difference")
    for outcome, count in fuzzer.outcomes.most_common():
        print(f"{count:9} {outcome}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
