"""The parts of a verification: rows in the staging table, one file against the manifest, keys as people read them."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from zlib import crc32

import msgspec
import pytest

from ddbio.audit.commits import Row
from ddbio.audit.files import FileCheck
from ddbio.audit.items import ItemReader, key_json
from ddbio.audit.manifest import contradictions, read_options
from ddbio.audit.staging import BATCH, Finding, Staging
from ddbio.codec import RecordEncoder, item_fingerprint
from ddbio.codec.fingerprint import MASK
from ddbio.errors import JobFailedError
from ddbio.ledger.entries import FileState
from ddbio.ledger.manifest import read_manifest
from ddbio.ledger.positions import END, START, AfterKey, Position
from ddbio.model import KeyAttribute, KeyType, Put
from tests.kit.damage import GOLDEN

KEYS: list[tuple[str, KeyType]] = [("pk", "S")]


@pytest.fixture
async def executor() -> AsyncIterator[ThreadPoolExecutor]:
    executor = ThreadPoolExecutor(2)
    yield executor
    executor.shutdown(wait=False)


async def differences(staging: Staging) -> list[Finding]:
    return [verdict async for batch in staging.findings() for verdict in batch]


async def test_a_stage_finds_what_is_on_one_side_only_or_differs(executor: ThreadPoolExecutor) -> None:
    async with Staging(executor) as staging:
        stored = [Row(b"same", 1, 0, 0, 0), Row(b"missing", 2, 0, 1, 40), Row(b"different", MASK, 0, 0, 50)]
        scanned = [Row(b"different", 0, 0), Row(b"same", 1, 0), Row(b"extra", 4, 3)]
        await staging.run(staging.add, stored)
        await staging.run(staging.add, scanned)
        expected = [
            Finding("extra", b"extra", 3, None, None),
            Finding("different", b"different", 0, 0, 50),
            Finding("missing", b"missing", 0, 1, 40),
        ]
        assert await differences(staging) == expected
        assert await differences(staging) == expected


async def test_of_a_key_twice_in_the_files_the_later_one_counts(executor: ThreadPoolExecutor) -> None:
    async with Staging(executor) as staging:
        await staging.run(staging.add, [Row(b"k", 1, 0, 0, 0), Row(b"k", 2, 0, 1, 9), Row(b"k", 3, 0)])
        assert await differences(staging) == [Finding("different", b"k", 0, 1, 9)]


async def test_a_key_in_two_segments_is_paired_in_the_last_stage(executor: ThreadPoolExecutor) -> None:
    async with Staging(executor) as rest:
        for rows in (
            [Row(b"moved", 1, 0, 0, 0), Row(b"a", 5, 0, 0, 9), Row(b"a", 5, 0), Row(b"b", 6, 0, 0, 20)],
            [Row(b"moved", 1, 1), Row(b"b", 7, 1)],
        ):
            async with Staging(executor) as staging:
                await staging.run(staging.add, rows)
                async for batch in staging.differing():
                    await rest.run(rest.add, batch)
        assert await differences(rest) == [Finding("different", b"b", 0, 0, 20)]


async def test_many_rows_come_in_the_order_of_the_files(executor: ThreadPoolExecutor) -> None:
    count = 3 * BATCH + 1
    async with Staging(executor) as staging:
        await staging.run(staging.add, [Row(b"%d" % number, 0, 0, number % 3, number) for number in range(count)])
        found = [(verdict.file, verdict.offset) for verdict in await differences(staging)]
    assert found == sorted((number % 3, number) for number in range(count))


async def test_leaving_a_stage_ends_what_it_does(executor: ThreadPoolExecutor) -> None:
    """Whoever is cancelled leaves at once: the thread is told to stop, and waited for."""
    begun, ended = threading.Event(), threading.Event()
    slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n"

    async def work() -> None:
        async with Staging(executor) as staging:

            def query() -> None:
                begun.set()
                try:
                    staging._execute(slow).fetchall()
                finally:
                    ended.set()

            await staging.run(query)

    task = asyncio.create_task(work())
    await asyncio.to_thread(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_trouble_with_the_database_is_an_error_with_a_hint(executor: ThreadPoolExecutor) -> None:
    async with Staging(executor) as staging:
        with pytest.raises(JobFailedError, match="TMPDIR"):
            await staging.run(staging._execute, "SELECT * FROM nowhere")


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("S", "ä", "ä"),
        ("B", "AP8=", "AP8="),
        ("N", "-1.50", "-1.5"),
        ("N", "0", "0"),
        ("N", "12000", "12000"),
        ("N", "12345678901234567890123456789012345678", "12345678901234567890123456789012345678"),
        ("N", "1e-130", "1E-130"),
        ("N", "9.5E+125", "9.5E+125"),
    ],
)
def test_keys_are_shown_as_people_write_them(kind: KeyType, value: str, shown: str) -> None:
    encoder = RecordEncoder([KeyAttribute("a", kind, 2048), KeyAttribute("sk", "S", 1024)], "dynamodb-json", {})
    put = encoder.encode(b'{"sk":{"S":"x"},"a":{"%s":"%s"}}' % (kind.encode(), value.encode()))
    assert isinstance(put, Put)
    assert key_json(put.key, [("a", kind), ("sk", "S")]) == {"a": {kind: shown}, "sk": {"S": "x"}}


ITEMS = [b'{"pk":{"S":"%d"},"n":{"N":"%d"}}' % (number, number) for number in range(5)]
LINES = b"".join(b'{"Item":%s}\n' % item for item in ITEMS)


def listed(
    stored: bytes, name: str = "T-0000-00000.json", *, items: int = 5, fingerprint: str | None = None
) -> FileState:
    total = sum(map(item_fingerprint, ITEMS)) & MASK
    return FileState(
        name=name,
        segment=0,
        number=0,
        first=START,
        last=END,
        read=items,
        items=items,
        bytes=len(stored),
        crc32=crc32(stored),
        sealed=True,
        fingerprint=fingerprint or f"{total:016x}",
    )


def problems(listed: FileState, stored: bytes, chunk: int = 7) -> list[str]:
    check = FileCheck(listed, ItemReader(KEYS, "dynamodb-json", {}, complete=True))
    for start in range(0, len(stored), chunk):
        check.feed(stored[start : start + chunk])
    return check.end()


def test_a_file_that_is_what_it_was() -> None:
    assert problems(listed(LINES), LINES) == []
    packed = gzip.compress(LINES)
    assert problems(listed(packed, "T-0000-00000.json.gz"), packed) == []
    assert problems(listed(LINES), LINES, chunk=1 << 20) == []


def test_rows_tell_where_an_item_is() -> None:
    rows: list[Row] = []
    check = FileCheck(listed(LINES), ItemReader(KEYS, "dynamodb-json", {}, complete=True), number=9, keep=rows.extend)
    check.feed(LINES)
    assert check.end() == []
    assert [(row.file, LINES[row.offset :].partition(b"\n")[0]) for row in rows if row.offset is not None] == [
        (9, b'{"Item":%s}' % item) for item in ITEMS
    ]


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        (LINES[:-30], ["bytes", "checksum", "can't be read", "fingerprint"]),
        (LINES.replace(b'"N":"3"', b'"N":"4"'), ["checksum", "fingerprint"]),
        (LINES.replace(b'"N":"3"', b'"X":"3"'), ["checksum", "can't be read", "fingerprint"]),
        (LINES[LINES.index(b"\n") + 1 :], ["bytes", "checksum", "4 records", "fingerprint"]),
        (LINES + b"\n\n", ["bytes", "checksum"]),
        (b"", ["bytes", "checksum", "0 records", "fingerprint"]),
    ],
)
def test_each_way_in_which_a_file_is_not_what_it_was(stored: bytes, told: list[str]) -> None:
    found = problems(listed(LINES), stored)
    assert len(found) == len(told)
    for problem, part in zip(found, told, strict=True):
        assert problem.startswith("T-0000-00000.json: ")
        assert part in problem


def test_a_broken_compressed_file() -> None:
    packed = gzip.compress(LINES)
    name = "T-0000-00000.json.gz"
    cut = problems(listed(packed, name), packed[:-9])
    assert any("ends in the middle" in problem for problem in cut)
    corrupt = problems(listed(packed, name), packed[:20] + b"\xff\xff" + packed[22:])
    assert any("corrupt" in problem for problem in corrupt)


def test_a_manifests_wrong_count_and_fingerprint_are_found() -> None:
    (count,) = problems(listed(LINES, items=6), LINES)
    assert count.endswith("it has 5 records, but the manifest says 6.")
    (fingerprint,) = problems(listed(LINES, fingerprint="0" * 16), LINES)
    assert fingerprint.endswith("but the manifest says 0000000000000000.")


A, B, C, D, E = map(AfterKey, "abcde")


@pytest.mark.parametrize(
    "positions",
    [
        [(START, A), (A, B), (B, END)],
        [(START, A), (B, C), (D, E)],
        [(A, B), (B, END)],
    ],
)
def test_a_segment_may_have_gaps_where_pages_held_no_items(positions: list[tuple[Position, Position]]) -> None:
    manifest = read_manifest((GOLDEN / "_ddbio" / "manifest.json").read_bytes(), "golden")
    files = [
        # Numbers have gaps too: a file that is gone when its segment is resumed is written again under the next one.
        msgspec.structs.replace(
            listed(LINES, f"Golden-0001-{number:05d}.json"), segment=1, number=number, first=a, last=b
        )
        for number, (a, b) in zip((0, 3, 4), positions, strict=False)
    ]
    totals = msgspec.structs.replace(manifest.totals, items=5 * len(files), bytes=len(LINES) * len(files))
    changed = msgspec.structs.replace(manifest, files=files[::-1], totals=totals)
    assert list(contradictions(changed, read_options(changed))) == []
