"""Plans: budgets, numbers of processes and segments, spans that together are the file."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ddbio.aws.table import TableInfo
from ddbio.capacity import Pace
from ddbio.codec.framing import Block, LineFramer, Record, records
from ddbio.errors import UsageError
from ddbio.jobs import planning
from ddbio.jobs.pace import read_pace, write_pace
from ddbio.jobs.planning import MEGABYTE
from ddbio.options import MAX_SEGMENTS, Capacity
from ddbio.storage.base import SourceFile
from tests.kit.descriptions import description

BOM = b"\xef\xbb\xbf"
ON_DEMAND: dict[str, Any] = {
    "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
    "ProvisionedThroughput": {},
}
WARM = {"WarmThroughput": {"ReadUnitsPerSecond": 30_000, "WriteUnitsPerSecond": 9_000}}


def on_demand_limits(read: int, write: int) -> dict[str, Any]:
    return {"OnDemandThroughput": {"MaxReadRequestUnits": read, "MaxWriteRequestUnits": write}}


def table(index: str | None = None, **members: Any) -> TableInfo:
    return TableInfo.parse(description(**members), index)


@pytest.mark.parametrize(
    ("capacity", "members", "read", "write"),
    [
        ("10", {}, 10, 10),
        ("50%", {}, 25, 10),
        ("100%", {}, 50, 20),
        ("50%", ON_DEMAND, 6_000, 2_000),
        ("50%", ON_DEMAND | WARM, 15_000, 4_500),
        ("50%", ON_DEMAND | on_demand_limits(100, 60), 50, 30),
        ("50%", ON_DEMAND | on_demand_limits(-1, -1), 6_000, 2_000),
        ("1000000", ON_DEMAND, 1_000_000, 1_000_000),
    ],
)
def test_a_budget_is_a_number_or_a_share_of_what_the_table_has(
    capacity: str, members: dict[str, Any], read: float, write: float
) -> None:
    given = table(**members)
    assert read_pace(Capacity.parse(capacity), given) == (read, None)
    assert write_pace(Capacity.parse(capacity), given) == (write, None)


def test_more_than_provisioned_is_refused_with_both_numbers() -> None:
    with pytest.raises(
        UsageError, match=r"capacity of 51 .* table T has a provisioned throughput of 50 read"
    ) as caught:
        read_pace(Capacity(units=51), table())
    assert "50" in str(caught.value.hint)
    with pytest.raises(UsageError, match=r"20 write"):
        write_pace(Capacity(units=20.5), table())


def test_more_than_the_owner_allows_is_refused() -> None:
    limited = table(**ON_DEMAND, **on_demand_limits(100, 60))
    with pytest.raises(UsageError, match=r"a maximum of 100 read"):
        read_pace(Capacity(units=101), limited)


@pytest.mark.parametrize(
    ("wanted", "budget", "request_units", "units", "expected"),
    [
        (8, 1_000, 128, 100, 7),
        (8, 100, 128, 100, 1),
        (8, 100_000, 128, 3, 3),
        (2, 100_000, 128, 100, 2),
        (8, 1_000, 25, 0, 1),
    ],
)
def test_no_process_without_work_or_a_request_a_second(
    wanted: int, budget: float, request_units: float, units: int, expected: int
) -> None:
    affordable = planning.affordable(wanted, Pace(budget), request_units)
    assert planning.process_count(affordable, units) == expected


@pytest.mark.parametrize(
    ("asked", "size", "processes", "expected"),
    [
        (17, 10**12, 4, 17),
        (None, 0, 4, 32),
        (None, 1, 4, 1),
        (None, 40 * MEGABYTE, 4, 10),
        (None, 1_000 * MEGABYTE, 4, 128),
        (None, 1_000_000 * MEGABYTE, 4, 977),
        (None, 10**18, 4, MAX_SEGMENTS),
    ],
)
def test_segments_are_many_but_never_tiny(asked: int | None, size: int, processes: int, expected: int) -> None:
    assert planning.segment_count(asked, size, processes) == expected


def test_each_segment_is_a_unit() -> None:
    units = planning.segments(5)
    assert [split.id for split in units] == [0, 1, 2, 3, 4]
    assert [split.id for split in units[1:3]] == [1, 2]
    assert (len(units), units[-1].id) == (5, 4)


def source(name: str, size: int | None, compression: Any = "none") -> SourceFile:
    return SourceFile(name, size, f"tag of {name}", compression)


files = st.lists(
    st.builds(
        source,
        st.text("abc", min_size=1, max_size=5),
        st.none() | st.integers(0, 3 * planning.LARGEST_SPAN),
        st.sampled_from(["none", "none", "gzip", "zstd"]),
    ),
    max_size=6,
)


@given(files, st.integers(1, 64))
def test_the_spans_of_a_file_are_the_whole_file(files: list[SourceFile], processes: int) -> None:
    units = planning.spans([files], processes)
    assert [split.id for split in units] == list(range(len(units)))
    rest = iter([*units, None])
    split = next(rest)
    for file in files:
        assert split is not None
        of_file = [split]
        while split is not None and split.end is not None:
            split = next(rest)
            assert split is not None
            of_file.append(split)
        assert {(one.file, one.size, one.tag, one.compression) for one in of_file} == {
            (file.name, file.size, file.tag, file.compression)
        }
        assert of_file[0].start == 0
        assert all(one.end == following.start for one, following in pairwise(of_file))
        assert of_file[-1].start < max(file.size or 0, 1)
        if file.compression != "none" or file.size is None:
            assert len(of_file) == 1
        split = next(rest)
    assert split is None


def test_large_files_are_shared_and_small_ones_are_not_cut() -> None:
    assert len(planning.spans([[source("a", 10_000 * MEGABYTE)]], 4)) == 64
    assert len(planning.spans([[source("a", planning.SMALLEST_SPAN)]], 64)) == 1
    assert all(
        (split.end or 0) - split.start <= planning.LARGEST_SPAN for split in planning.spans([[source("a", 10**12)]], 1)
    )


lines = st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=60)


@settings(deadline=None)
@example([BOM], False, 1, 1, 0)
@example([b"", BOM], False, 1, 1, 0)
@given(lines, st.booleans(), st.integers(1, 50), st.integers(1, 100), st.integers(0, 1_000))
def test_the_records_of_all_spans_are_the_records_of_the_file(
    lines: list[bytes], ended: bool, span: int, chunk: int, seed: int
) -> None:
    """Cut as a job cuts, fed in chunks of any size: every record exactly once, whatever the span's ends fall on."""
    data, rng = b"\n".join(lines) + b"\n" * ended, random.Random(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "SMALLEST_SPAN", span)
        patch.setattr(planning, "LARGEST_SPAN", span)
        units = planning.spans([[source("f", len(data))]], 1)

    def frame(start: int, stop: int | None) -> list[Record]:
        framer, found, at = LineFramer(start, limit=1_000, stop=stop), list[Block](), max(start - 1, 0)
        while at < len(data) and not framer.done:
            size = rng.randint(1, chunk)
            found += framer.feed(data[at : at + size])
            at += size
        return records(found + framer.end())

    whole = frame(0, None)
    together = [record for split in units for record in frame(split.start, split.end)]
    assert [record._replace(line=None) for record in together] == [record._replace(line=None) for record in whole]
    content = data.removeprefix(BOM).split(b"\n")
    found = [record.data if record.offset else record.data.removeprefix(BOM) for record in whole]
    assert [data.strip(b" \t\r") for data in found] == [
        line.strip(b" \t\r") for line in content if line.strip(b" \t\r")
    ]
