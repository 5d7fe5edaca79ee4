"""The contract of Sink and OutputFile: one suite over every place, then what is peculiar to each."""

from __future__ import annotations

import asyncio
import io
import os
import re
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from ddbio.errors import DestinationError, PreflightError
from ddbio.storage.base import StoredFile
from ddbio.storage.local.sink import LocalSink
from ddbio.storage.s3.tuning import MIB
from ddbio.storage.stdio import StdoutSink
from tests.kit.places import Place, blocks, write_all

NAME = "Table-0007-00001.json"


# --- every place


async def test_a_file_appears_whole_and_only_when_it_is_sealed(place: Place) -> None:
    data = blocks(21, MIB)
    async with place.sink() as sink:
        file = await sink.create(NAME, max_bytes=len(data) * MIB)
        assert file.name == NAME
        await write_all(file, data)
        assert await file.finish() == 21 * MIB
        assert place.finished() == {}
        await file.seal()
        assert place.finished() == {NAME: b"".join(data)}
        assert place.unfinished() == []


async def test_what_is_durable_ends_at_a_block_and_never_decreases(place: Place) -> None:
    durable = [0]
    async with place.sink() as sink:
        file = await sink.create(NAME, max_bytes=30 * MIB)
        for block in blocks(10, 3 * MIB + 4):
            await file.write(block)
            durable.append(await file.sync())
        durable.append(await file.finish())
        durable.append(await file.sync())
        await file.seal()
    assert durable == sorted(durable)
    assert all(offset % (3 * MIB + 4) == 0 for offset in durable)
    assert durable[-1] == durable[-2] == 10 * (3 * MIB + 4)
    assert [len(data) for data in place.finished().values()] == [durable[-1]]


async def test_a_file_without_a_block_is_empty(place: Place) -> None:
    async with place.sink() as sink:
        file = await sink.create(NAME, max_bytes=MIB)
        assert await file.finish() == 0
        await file.seal()
    assert place.finished() == {NAME: b""}


@pytest.mark.parametrize("blocks_before", [0, 1, 20])
@pytest.mark.parametrize("finish", [False, True])
async def test_a_discarded_file_leaves_no_trace(place: Place, blocks_before: int, finish: bool) -> None:
    async with place.sink() as sink:
        file = await sink.create(f"folder/{NAME}", max_bytes=MIB)
        await write_all(file, blocks(blocks_before, MIB))
        if finish:
            await file.finish()
        await file.discard()
        assert place.unfinished() == []
        await file.discard()
    assert place.finished() == {}


async def test_sealing_twice_and_then_discarding_changes_nothing(place: Place) -> None:
    async with place.sink() as sink:
        file = await sink.create(NAME, max_bytes=MIB)
        await file.write(b"{}\n")
        await file.seal()
        await file.seal()
        await file.discard()
        assert await file.finish() == 3
    assert place.finished() == {NAME: b"{}\n"}


async def test_leaving_the_sink_discards_what_is_not_sealed(place: Place) -> None:
    with pytest.raises(KeyError):
        async with place.sink() as sink:
            sealed = await sink.create("a.json", max_bytes=MIB)
            await sealed.write(b"1")
            await sealed.seal()
            for name in ("b.json", "c.json"):
                await write_all(await sink.create(name, max_bytes=MIB), blocks(9, MIB))
            raise KeyError
    assert place.finished() == {"a.json": b"1"}
    assert place.unfinished() == []


async def test_a_sealed_file_replaces_an_older_one(place: Place) -> None:
    place.fill({NAME: b"old"})
    async with place.sink() as sink:
        file = await sink.create(NAME, max_bytes=MIB)
        await file.write(b"new")
        await file.finish()
        assert place.finished() == {NAME: b"old"}
        await file.seal()
    assert place.finished() == {NAME: b"new"}


async def test_many_files_at_once_keep_their_blocks_apart(place: Place) -> None:
    async def one(number: int) -> None:
        file = await sink.create(f"{number}.json", max_bytes=10 * MIB)
        for _ in range(9):
            await file.write(bytes([number]) * MIB)
        await file.seal()

    async with place.sink() as sink, asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(one(number))
    assert place.finished() == {f"{number}.json": bytes([number]) * 9 * MIB for number in range(6)}


async def test_small_objects_are_put_read_listed_and_deleted(place: Place) -> None:
    async with place.sink() as sink:
        assert await sink.list() == []
        assert await sink.get("_ddbio/manifest.json") is None
        await sink.put("_ddbio/manifest.json", b"first")
        await sink.put("_ddbio/manifest.json", b"second")
        for number in (2, 10, 1):
            await sink.put(f"_ddbio/journal/{number:05}", bytes(number))
        assert await sink.get("_ddbio/manifest.json") == b"second"
        assert await sink.get("_ddbio/manifest.json", most=6) == b"second"
        with pytest.raises(DestinationError, match="more than 5 bytes"):
            await sink.get("_ddbio/manifest.json", most=5)
        assert await sink.list("_ddbio/journal/") == [
            StoredFile("_ddbio/journal/00001", 1),
            StoredFile("_ddbio/journal/00002", 2),
            StoredFile("_ddbio/journal/00010", 10),
        ]
        assert [file.name for file in await sink.list("_ddbio/m")] == ["_ddbio/manifest.json"]
        assert await sink.list("nowhere/at/all") == []
        await sink.delete("_ddbio/journal/00001")
        await sink.delete("_ddbio/journal/00001")
        assert [file.name for file in await sink.list()] == [
            "_ddbio/journal/00002",
            "_ddbio/journal/00010",
            "_ddbio/manifest.json",
        ]
    assert place.unfinished() == []


async def test_many_are_deleted_at_once(place: Place) -> None:
    names = [f"{name}.json" for name in ("a", "b & <c>", "d'\"e", "é ü", "f+g%20", "_ddbio/journal/1")]
    async with place.sink() as sink:
        await sink.delete()
        await sink.delete("never", "there")
        for name in (*names, "stays"):
            await sink.put(name, b"x")
        await sink.delete(*names, "never")
        await sink.delete(*names)
        assert [file.name for file in await sink.list()] == ["stays"]


async def test_a_check_leaves_nothing_behind(place: Place) -> None:
    async with place.sink() as sink:
        assert await sink.check(1000) == []
        assert await sink.check(None) == []
        assert await sink.list() == []
    assert place.unfinished() == []


async def test_a_cancelled_seal_has_sealed_the_file_or_discards_it(place: Place) -> None:
    async with place.sink() as sink:
        file = await sink.create(NAME, max_bytes=MIB)
        await file.write(b"{}\n")
        await file.finish()
        sealing = asyncio.create_task(file.seal())
        await asyncio.sleep(0)
        sealing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sealing
        await file.discard()
    assert place.finished() in ({}, {NAME: b"{}\n"})
    assert place.unfinished() == []


async def test_other_files_that_an_import_would_read_are_found(place: Place) -> None:
    def is_mine(name: str) -> bool:
        return name.startswith("mine")

    async with place.sink() as sink:
        assert await sink.foreign_input(is_mine) is None
        place.fill(
            {"mine.json": b"{}", "_hidden.json": b"{}", "notes.txt": b"x", "_ddbio/x.json": b"{}", ".x/y.json": b"{}"}
        )
        assert await sink.foreign_input(is_mine) is None
        place.fill({"sub/theirs.json.gz": b"x"})
        assert await sink.foreign_input(is_mine) == "sub/theirs.json.gz"


# --- the local folder


def folder_sink(folder: Path, executor: ThreadPoolExecutor) -> LocalSink:
    return LocalSink(folder, "run7", executor=executor)


def tree(folder: Path) -> list[str]:
    """Everything below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


async def test_folders_made_for_nothing_are_removed_again(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    async with folder_sink(tmp_path / "a" / "b", executor) as sink:
        await sink.check(None)
        await (await sink.create("c/x.json", max_bytes=1)).discard()
        assert (tmp_path / "a" / "b" / "c").is_dir()
    assert tree(tmp_path) == []


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "", "a//b", ".", "a/.", "..", "link/x"])
async def test_a_name_that_leads_out_of_the_folder_is_not_used(
    name: str, tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    (tmp_path / "x").write_bytes(b"precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    async with folder_sink(tmp_path / "out", executor) as sink:
        for use in (sink.put(name, b"{}"), sink.get(name), sink.delete(name), sink.create(name, max_bytes=1)):
            with pytest.raises(DestinationError, match="inside the destination"):
                await use
    assert tree(tmp_path) == ["out", "out/link", "x"]
    assert (tmp_path / "x").read_bytes() == b"precious"


async def test_a_journal_and_what_is_private_is_for_its_owner_alone(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    before = os.umask(0o022)
    try:
        async with folder_sink(tmp_path / "a" / "out", executor) as sink:
            for name in ("_ddbio/journal/00000001.json", "_ddbio/manifest.json"):
                await sink.put(name, b"{}")
            file = await sink.create("x.json", max_bytes=1)
            await file.seal()
        async with LocalSink(tmp_path / "b" / "state", "run7", executor=executor, private=True) as sink:
            await sink.put("_ddbio/journal/00000001.json", b"{}")
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in tree(tmp_path)}
    assert modes == {
        "a": 0o755,
        "a/out": 0o755,
        "a/out/_ddbio": 0o755,
        "a/out/_ddbio/journal": 0o755,
        "a/out/_ddbio/journal/00000001.json": 0o600,
        "a/out/_ddbio/manifest.json": 0o644,
        "a/out/x.json": 0o644,
        "b": 0o700,
        "b/state": 0o700,
        "b/state/_ddbio": 0o700,
        "b/state/_ddbio/journal": 0o700,
        "b/state/_ddbio/journal/00000001.json": 0o600,
    }


async def test_folders_that_hold_something_stay(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    (tmp_path / "mine").mkdir()
    async with folder_sink(tmp_path / "mine", executor) as sink:
        await sink.check(None)
    async with folder_sink(tmp_path / "a" / "b", executor) as sink:
        await sink.check(None)
        await sink.put("_ddbio/manifest.json", b"{}")
    assert tree(tmp_path) == [
        "a",
        "a/b",
        "a/b/_ddbio",
        "a/b/_ddbio/manifest.json",
        "mine",
    ]


async def test_unfinished_files_carry_the_run_and_are_listed(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    async with folder_sink(tmp_path, executor) as sink:
        file = await sink.create(NAME, max_bytes=1)
        await file.write(b"123")
        await file.sync()
        assert await sink.list() == [StoredFile(f"{NAME}.run7.part", 3)]
        assert (tmp_path / f"{NAME}.run7.part").read_bytes() == b"123"


async def test_too_little_free_space_is_a_warning(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    async with folder_sink(tmp_path, executor) as sink:
        [warning] = await sink.check(2**62)
    assert str(tmp_path) in warning
    assert "4,611,686,018,427,387,904" in warning


async def test_a_file_in_the_way_of_the_folder_fails_the_check(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        async with folder_sink(folder, executor) as sink:
            with pytest.raises(PreflightError, match=f"{re.escape(str(folder))}: .* choose another destination"):
                await sink.check(None)
    assert tree(tmp_path) == ["file"]


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="a Linux system has a folder that nobody can write to")
async def test_a_forbidden_folder_fails_the_check_and_the_file(executor: ThreadPoolExecutor) -> None:
    async with folder_sink(Path("/sys/kernel/out"), executor) as sink:
        with pytest.raises(PreflightError, match=r"/sys/kernel/out: .*Check the permissions"):
            await sink.check(None)
        with pytest.raises(DestinationError, match=r"create /sys/kernel/out/x.json.run7.part: .*permissions"):
            await sink.create("x.json", max_bytes=1)
        with pytest.raises(DestinationError, match=r"write /sys/kernel/out/m.json"):
            await sink.put("m.json", b"{}")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a Linux system has a device that is always full")
async def test_a_full_disk_names_the_file_and_what_to_do(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    (tmp_path / f"{NAME}.run7.part").symlink_to("/dev/full")
    async with folder_sink(tmp_path, executor) as sink:
        file = await sink.create(NAME, max_bytes=MIB)
        with pytest.raises(DestinationError, match=rf"{NAME}.run7.part: No space left on device. Free some space"):
            await file.write(bytes(MIB))
        await file.discard()
        assert tree(tmp_path) == []
        (tmp_path / "m.json.run7.part").symlink_to("/dev/full")
        with pytest.raises(DestinationError, match=r"m.json: No space left on device"):
            await sink.put("m.json", bytes(MIB))
    assert tree(tmp_path) == []


async def test_a_write_cancelled_before_its_turn_leaves_nothing(tmp_path: Path) -> None:
    released = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        sink = folder_sink(tmp_path, executor)
        async with sink:
            file = await sink.create(NAME, max_bytes=MIB)
            executor.submit(released.wait)
            writing = asyncio.create_task(file.write(bytes(MIB)))
            creating = asyncio.create_task(sink.create("other.json", max_bytes=MIB))
            await asyncio.sleep(0)
            writing.cancel()
            creating.cancel()
            assert [type(end) for end in await asyncio.gather(writing, creating, return_exceptions=True)] == [
                asyncio.CancelledError,
                asyncio.CancelledError,
            ]
            released.set()
    assert tree(tmp_path) == []


# --- standard output


async def test_blocks_of_many_files_go_whole_into_one_stream(executor: ThreadPoolExecutor) -> None:
    class Slow(io.BytesIO):
        def write(self, data: Any, /) -> int:
            return super().write(bytes(data)[:1000])  # as an unbuffered stream may

    stream = Slow()
    async with StdoutSink(stream, executor=executor) as sink, asyncio.TaskGroup() as group:
        assert await sink.check(None) == []
        for number in range(5):
            file = await sink.create(f"{number}", max_bytes=MIB)
            group.create_task(write_all(file, [bytes([number]) * 10_000] * 3))
    written = stream.getvalue()
    whole = {written[start : start + 10_000] for start in range(0, len(written), 10_000)}
    assert whole == {bytes([number]) * 10_000 for number in range(5)}
    assert len(written) == 150_000


async def test_a_stream_counts_its_bytes_and_drops_small_objects(executor: ThreadPoolExecutor) -> None:
    stream = io.BytesIO()
    async with StdoutSink(stream, executor=executor) as sink:
        file = await sink.create(NAME, max_bytes=MIB)
        await file.write(b"{}\n")
        assert await file.sync() == await file.finish() == 3
        await file.seal()
        await file.discard()
        await sink.put("_ddbio/manifest.json", b"{}")
        assert await sink.get("_ddbio/manifest.json") is None
        assert await sink.list() == []
        await sink.delete(NAME)
    assert stream.getvalue() == b"{}\n"


async def test_a_reader_that_went_away_is_told_clearly(executor: ThreadPoolExecutor) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open_unbuffered(writing) as stream:
        async with StdoutSink(stream, executor=executor) as sink:
            file = await sink.create(NAME, max_bytes=MIB)
            with pytest.raises(DestinationError, match="Standard output was closed by its reader"):
                await file.write(b"{}\n")


def open_unbuffered(descriptor: int) -> BinaryIO:
    """As `python -u` opens standard output."""
    return cast("BinaryIO", os.fdopen(descriptor, "wb", buffering=0))


async def test_broken_links_do_not_keep_a_folder_from_being_listed(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "below").symlink_to("loop/below")
    (tmp_path / "gone").symlink_to("nowhere")
    async with LocalSink(tmp_path, "run7", executor=executor) as sink:
        assert [file.name for file in await sink.list()] == ["below", "gone", "loop"]
        assert await sink.sweep(lambda _: True, ()) == []
