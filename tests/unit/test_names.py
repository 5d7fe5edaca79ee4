"""Names at a destination: what files are called, whose they are, and which are safe."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddbio.model import Compression
from ddbio.names import ENDINGS, TABLE_NAME, compression_of, file_name, final_name, is_file_of, is_part_of, part_name

tables = st.from_regex(TABLE_NAME, fullmatch=True)
RUN = "20260102T030405Z-a1b2c3-1000-9999"


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("T", 3, 0, "none"), "T-0003-00000.json"),
        (("a.b_c-d", 12_345, 123_456, "gzip"), "a.b_c-d-12345-123456.json.gz"),
        (("T", 0, 7, "zstd"), "T-0000-00007.json.zst"),
        (("x" * 180, 0, 0, "none"), "x" * 180 + "-0000-00000.json"),
        (("x" * 181, 0, 0, "none"), "x" * 171 + "-dc31ed5a-0000-00000.json"),
    ],
)
def test_a_file_says_what_is_in_it(arguments: Any, name: str) -> None:
    assert file_name(*arguments) == name


@given(tables, tables, st.integers(0, 999_999), st.integers(0, 10**9), st.sampled_from(sorted(ENDINGS)))
def test_a_name_belongs_to_one_table_and_fits_any_file_system(
    table: str, other: str, segment: int, number: int, compression: Compression
) -> None:
    name = file_name(table, segment, number, compression)
    assert is_file_of(table)(name)
    assert is_file_of(other)(name) is (table == other)
    part = part_name(name, RUN)
    assert is_part_of(part, name)
    assert final_name(part) == name
    assert len(part) <= 255
    assert not is_file_of(table)(part)


@pytest.mark.parametrize(
    "name",
    [
        "Orders-Archive-0000-00000.json",
        "Orders-000-00000.json",
        "Orders-0000-0000.json",
        "Orders-0000-00000.json.bz2",
        "Orders-0000-00000.json.run.part",
        "Orders-0000-00000.json\n",
        "sub/Orders-0000-00000.json",
        "MyOrders-0000-00000.json",
        "orders-0000-00000.json",
        "Orders-0000-0000-00000.json",
    ],
)
def test_what_is_called_otherwise_is_somebody_else_s(name: str) -> None:
    assert not is_file_of("Orders")(name)


def test_a_dot_in_a_table_s_name_is_a_dot() -> None:
    assert not is_file_of("a.b")("axb-0000-00000.json")


@pytest.mark.parametrize(
    "part", ["n.json", "n.json.part", "n.json..part", "n.json.a/b.part", "n.json.a.b.part", "x", "n.json.r"]
)
def test_what_is_no_part_of_a_file(part: str) -> None:
    assert not is_part_of(part, "n.json")


def test_the_ending_tells_the_compression() -> None:
    assert ENDINGS == {"none": "", "gzip": ".gz", "zstd": ".zst"}
    assert [compression_of("a.json" + ending) for ending in ENDINGS.values()] == list(ENDINGS)
    assert compression_of("A.JSON.GZ") == "gzip"
    assert compression_of("gz") == "none"
