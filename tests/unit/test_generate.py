"""Made-up items: unique, seeded, as large as promised, fast, and a file that is whole or not there."""

from __future__ import annotations

import base64
import gzip
import json
import os
import random
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import zstandard

from ddbio.errors import DestinationError, UsageError
from ddbio.generate import Shape, blocks, write_file

SHAPES: list[Shape] = ["small", "large", "nested"]


def items(count: int, shape: Shape = "small", seed: int | None = 1) -> list[dict[str, Any]]:
    return [json.loads(line) for line in b"".join(blocks(count, shape=shape, seed=seed)).splitlines()]


@pytest.mark.parametrize("count", [0, 1, 4_095, 4_096, 4_097, 10_000])
def test_count_is_exact_and_no_key_comes_twice(count: int) -> None:
    text = b"".join(blocks(count, seed=3))
    assert text.count(b"\n") == count
    assert len({(item["hash"], item["range"]) for item in map(json.loads, text.splitlines())}) == count


def test_default_shape_is_four_strings_of_about_170_bytes() -> None:
    text = b"".join(blocks(100))
    assert 160 <= len(text) / 100 <= 180
    for item in map(json.loads, text.splitlines()):
        assert list(item) == ["hash", "range", "val_1", "val_2"]
        assert all(isinstance(value, str) and len(value) == 32 for value in item.values())


def test_partition_keys_spread_evenly() -> None:
    firsts = [item["hash"][0] for item in items(4_000)]
    assert all(150 < firsts.count(digit) < 350 for digit in "0123456789abcdef")


@pytest.mark.parametrize("shape", SHAPES)
def test_same_seed_same_bytes_and_another_seed_others(shape: Shape) -> None:
    first, again, other = (b"".join(blocks(30, shape=shape, seed=seed)) for seed in (7, 7, 8))
    assert first == again != other


def test_without_a_seed_runs_differ_and_spare_global_random() -> None:
    random.seed(5)
    state = random.getstate()
    assert b"".join(blocks(5)) != b"".join(blocks(5))
    assert random.getstate() == state


def test_large_items_are_about_100_kb() -> None:
    for item in items(25, "large"):
        assert 95_000 < len(json.dumps(item)) < 110_000


def values(value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    ((kind, content),) = value.items()
    yield kind, content
    inner = content.values() if kind == "M" else content if kind == "L" else ()
    for each in inner:
        yield from values(each)


def test_nested_items_hold_every_type_and_are_valid() -> None:
    seen = set()
    for record in items(2_050, "nested"):
        assert list(record) == ["Item"]
        for kind, content in values({"M": record["Item"]}):
            seen.add(kind)
            if kind in ("SS", "NS", "BS"):
                assert content
                assert len(set(content)) == len(content)
            for binary in content if kind == "BS" else [content] if kind == "B" else []:
                assert base64.b64encode(base64.b64decode(binary, validate=True)).decode() == binary
            if kind == "N":
                assert len(content.lstrip("-").partition("E")[0].replace(".", "").strip("0")) <= 38
    assert seen == {"S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS"}


def test_negative_count_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="-1"):
        blocks(-1)


def test_making_items_takes_no_longer_than_encoding_them() -> None:
    """The same on any machine: where `json` encodes 400,000 items a second, at least 300,000 are made."""
    began = time.process_time()
    made = b"".join(blocks(50_000, seed=1))
    making = time.process_time() - began
    items = [json.loads(line) for line in made.splitlines()]
    began = time.process_time()
    for item in items:
        json.dumps(item)
    assert making <= 1.25 * (time.process_time() - began)


def test_memory_is_bounded_by_blocks_of_about_a_megabyte() -> None:
    for shape in SHAPES:
        assert all(len(block) < 1_300_000 for block in blocks(9_000 if shape != "large" else 40, shape=shape))


def test_file_is_whole_and_alone(tmp_path: Path) -> None:
    target = tmp_path / "test.json"
    target.write_text("older")
    assert write_file(blocks(10, seed=1), str(target)) == target.stat().st_size
    assert target.read_bytes() == b"".join(blocks(10, seed=1))
    assert [path.name for path in tmp_path.iterdir()] == ["test.json"]


def test_file_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "test.json"
    target.write_text("older")

    def failing() -> Iterator[bytes]:
        yield b"{}\n"
        raise OSError(28, "No space left on device")

    with pytest.raises(DestinationError, match="No space left on device"):
        write_file(failing(), str(target))
    assert target.read_text() == "older"
    assert [path.name for path in tmp_path.iterdir()] == ["test.json"]


def test_interrupted_file_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> Iterator[bytes]:
        yield b"{}\n"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_file(interrupted(), str(tmp_path / "test.json"))
    assert [path.name for path in tmp_path.iterdir()] == []


def test_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DestinationError, match="No such file or directory"):
        write_file(blocks(1), str(tmp_path / "missing" / "test.json"))


def test_a_pipe_or_device_stays_one(tmp_path: Path) -> None:
    device = tmp_path / "device"
    device.symlink_to(os.devnull)
    assert write_file(blocks(3), str(device)) > 0
    assert Path(os.devnull).is_char_device()
    assert device.is_symlink()


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("older")
    (tmp_path / "link.json").symlink_to("real.json")
    write_file(blocks(3, seed=1), str(tmp_path / "link.json"))
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_bytes().count(b"\n") == 3


def test_compressed_by_name(tmp_path: Path) -> None:
    plain = b"".join(blocks(9_000, seed=2))
    write_file(blocks(9_000, seed=2), str(tmp_path / "a.json.gz"))
    write_file(blocks(9_000, seed=2), str(tmp_path / "a.json.zst"))
    assert gzip.decompress((tmp_path / "a.json.gz").read_bytes()) == plain
    with (tmp_path / "a.json.zst").open("rb") as file:
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        assert reader.read() == plain


def test_keys_of_one_file_ascend_in_the_sort_key() -> None:
    assert all(first["range"] < second["range"] for first, second in pairwise(items(5_000)))
