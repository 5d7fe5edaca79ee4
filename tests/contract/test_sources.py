"""The contract of Source: one suite over every place, then what is peculiar to each."""

from __future__ import annotations

import asyncio
import io
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from ddbio.errors import PreflightError, SourceError
from ddbio.storage.base import MANIFEST, Source, SourceFile, Survey
from ddbio.storage.local.source import LocalSource
from ddbio.storage.s3.source import PIECE, S3Source
from ddbio.storage.s3.tuning import MIB
from ddbio.storage.stdio import CHUNK, StdinSource
from tests.kit.faulty import proxy
from tests.kit.places import ATTEMPTS, PREFIX, Bucket, Folder, Place, blocks, s3_client
from tests.kit.servers.aws import Server

LARGE = b"".join(blocks(19, MIB + 4))
"""More than two ranged GETs, no multiple of a chunk."""
PART = "T-0000-00001.json.20260101T000000Z-0a0b0c-0-0.part"


async def read(source: Source, file: SourceFile, start: int = 0) -> bytes:
    async with aclosing(source.read(file, start)) as chunks:
        got = [chunk async for chunk in chunks]
    assert all(0 < len(chunk) <= CHUNK for chunk in got)
    return b"".join(got)


async def only(source: Source) -> SourceFile:
    [file] = await source.files()
    return file


# --- every place


async def test_a_folder_is_walked_for_the_usual_endings(place: Place) -> None:
    wanted = {
        "a.json": "none",
        "b.JSONL": "none",
        "deep/er/c.ndjson.gz": "gzip",
        "deep/d.json.zst": "zstd",
        "deep/e.jsonl": "none",
    }
    ignored = [
        "README.md",
        "f.json.bak",
        "f.json.run7.part",
        "_ddbio/g.json",
        ".h.json",
        "deep/_i/j.json",
        "gz",
        ".json",
    ]
    place.fill({name: name.encode() for name in [*wanted, *ignored]})
    async with place.source() as source:
        files = await source.files()
        assert [file.name for file in files] == sorted(file.name for file in files)
        found = {(await read(source, file)).decode(): file.compression for file in files}
        assert [file.size for file in files] == [len(await read(source, file)) for file in files]
    assert found == wanted


async def test_a_file_is_read_from_any_byte_on(place: Place) -> None:
    place.fill({"large.json": LARGE})
    async with place.source() as source:
        file = await only(source)
        assert file.size == len(LARGE)
        for start in (0, 1, MIB, PIECE - 1, PIECE, 2 * PIECE + 5, len(LARGE) - 1, len(LARGE), len(LARGE) + 1):
            assert await read(source, file, start) == LARGE[start:]


async def test_an_empty_file_has_no_chunk(place: Place) -> None:
    place.fill({"empty.json": b""})
    async with place.source() as source:
        file = await only(source)
        assert file.size == 0
        assert await read(source, file) == b""


async def test_reading_may_stop_early(place: Place) -> None:
    place.fill({"large.json": LARGE})
    async with place.source() as source:
        async with aclosing(source.read(await only(source))) as chunks:
            assert await anext(chunks) == LARGE[:CHUNK]
        assert await read(source, await only(source), len(LARGE) - 3) == LARGE[-3:]


@pytest.mark.parametrize("name", ["items.txt", "_hidden.json", "data", "deep/.items.gz"])
async def test_a_file_that_is_named_is_taken_whatever_its_ending(place: Place, name: str) -> None:
    place.fill({name: b"{}\n", "other.json": b""})
    async with place.source(name) as source:
        file = await only(source)
        assert file.compression == ("gzip" if name.endswith("gz") else "none")
        assert await read(source, file) == b"{}\n"


async def test_the_tag_changes_with_the_content(place: Place) -> None:
    place.fill({"a.json": b"1"})
    async with place.source() as source:
        before = await only(source)
        assert await only(source) == before
        place.fill({"a.json": b"22"})
        assert (await only(source)).tag != before.tag


async def test_the_manifest_lies_in_the_folder_or_beside_the_file(place: Place) -> None:
    place.fill({"a.json": b"1", "_ddbio/manifest.json": b"{}", "deep/b.json": b"1"})
    for name, expected in (("", b"{}"), ("a.json", b"{}"), ("deep", None), ("deep/b.json", None)):
        async with place.source(name) as source:
            assert await source.manifest() == expected


def told(survey: Survey) -> list[tuple[str, bool, bool, str]]:
    """The exports that were found, by their folders below the place."""
    top = survey.root[: survey.root.rindex("out/") + 4] if "out/" in survey.root else f"{PREFIX}/"
    return [(export.root.removeprefix(top), *export[1:]) for export in survey.exports]


async def test_every_export_on_the_way_is_found_whole_or_not(place: Place) -> None:
    files = ["a.json", "_ddbio/manifest.json", "deep/b.json", "deep/_ddbio/journal/00000001.json", "none/c.json"]
    files += ["parts/d.json", f"parts/{PART}", "parts/_hidden/_ddbio/manifest.json", "empty/x"]
    files += ["parts/e.json.part", "_own/_ddbio/manifest.json"]
    place.fill(dict.fromkeys(files, b"1"))
    top, deep = ("", True, False, ""), ("deep/", False, True, "")
    parts = ("parts/", False, False, PART)
    named: list[tuple[str, str, list[tuple[str, bool, bool, str]]]] = [
        ("", "folder", [top, deep, parts]),
        ("a.json", "file", [top]),
        ("deep", "folder", [deep]),
        ("deep/b.json", "file", [deep]),
        ("none", "folder", []),
        ("parts", "folder", [parts]),
        ("parts/d.json", "file", []),
    ]
    for name, kind, expected in named:
        async with place.source(name) as source:
            survey = await source.survey()
            assert (survey.named, sorted(told(survey))) == (kind, expected)
            assert [await source.manifest(export.root) for export in survey.exports if export.has_manifest] == [
                b"1" for _, has_manifest, *_ in expected if has_manifest
            ]


async def test_a_place_without_input_says_what_was_looked_for(place: Place) -> None:
    place.fill({"README.md": b"1", "_ddbio/manifest.json": b"{}"})
    async with place.source() as source:
        with pytest.raises(PreflightError, match=r"no input file.*\.json, \.jsonl or \.ndjson") as caught:
            await source.files()
        assert source.location in str(caught.value)


async def test_a_missing_source_is_named(place: Place) -> None:
    place.fill({"a.json": b""})
    async with place.source("nowhere/x.json") as source:
        with pytest.raises(PreflightError, match=r"nowhere/x\.json (does not exist|holds no input file)"):
            await source.files()
        assert await source.manifest() is None


async def test_a_file_changed_or_gone_since_it_was_found_is_not_read(place: Place) -> None:
    place.fill({"a.json": b"1", "b.json": b"1"})
    async with place.source() as source:
        changed, gone = await source.files()
        place.fill({"a.json": b"2" * 9})
        place.remove("b.json")
        for file in (changed, gone):
            with pytest.raises(SourceError, match=file.name):
                await read(source, file)


@pytest.mark.parametrize("size", [len(LARGE) - 1, len(LARGE), len(LARGE) + 1])
async def test_a_file_changed_while_it_is_read_is_found_out(place: Place, size: int) -> None:
    place.fill({"a.json": LARGE})
    async with place.source() as source, aclosing(source.read(await only(source))) as chunks:
        await anext(chunks)
        place.fill({"a.json": bytes(size)})
        with pytest.raises(SourceError, match=r"a\.json was changed while it was read"):
            async for _ in chunks:
                pass


async def test_hidden_files_of_exports_are_found_beside_the_others(place: Place) -> None:
    names = [
        "_T-0000-00000.json",
        ".T-0000-00000.json",
        "_U-0000-00000.json",
        "_T.txt",
        "a.json",
        "sub/_T-0000-00000.json",
    ]
    place.fill(dict.fromkeys(names, b"{}"))
    async with place.source() as source:
        found = await source.survey()
    assert [PurePosixPath(file.name).name for file in found.files] == ["a.json"]
    hidden = [".T-0000-00000.json", "_T-0000-00000.json", "_U-0000-00000.json", "_T-0000-00000.json"]
    assert [PurePosixPath(file.name).name for file in found.hidden] == hidden


# --- local files


@pytest.fixture
def folder(tmp_path: Path, executor: ThreadPoolExecutor) -> Folder:
    return Folder(tmp_path, executor)


async def names(folder: Folder, pattern: str) -> list[str]:
    async with folder.source(pattern) as source:
        return [Path(file.name).relative_to(folder.root).as_posix() for file in await source.files()]


async def test_a_glob_takes_what_it_matches(folder: Folder) -> None:
    every = ["out/a-1.json", "out/a-2.txt", "out/b.json", "out/_c.json", "out/sub/d.json", "out/sub/e.txt"]
    folder.fill(dict.fromkeys([*every, "out/_ddbio/manifest.json"], b""))
    assert await names(folder, "out/a-?.*") == ["out/a-1.json", "out/a-2.txt"]
    assert await names(folder, "out/*") == ["out/a-1.json", "out/a-2.txt", "out/b.json", "out/sub/d.json"]
    assert await names(folder, "o*/**/*.json") == ["out/a-1.json", "out/b.json", "out/sub/d.json"]
    async with folder.source("out/*.json") as source:
        assert await source.manifest() == b""
    with pytest.raises(PreflightError, match=r"none-\* holds no input file"):
        await names(folder, "out/none-*")


async def test_a_file_that_is_named_like_a_glob_is_that_file(folder: Folder) -> None:
    folder.fill({"a[1].json": b"", "a1.json": b""})
    assert await names(folder, "a[1].json") == ["a[1].json"]


async def test_linked_folders_are_walked_once(folder: Folder) -> None:
    folder.fill({"data/a.json": b"", "elsewhere/b.json": b""})
    (folder.root / "data" / "loop").symlink_to(folder.root / "data")
    (folder.root / "data" / "self").symlink_to("self")
    (folder.root / "data" / "link").symlink_to(folder.root / "elsewhere")
    (folder.root / "data" / "nowhere").symlink_to("missing")
    assert await names(folder, "data") == ["data/a.json", "data/link/b.json"]


async def test_a_link_to_an_input_file_that_is_missing_is_refused(folder: Folder) -> None:
    folder.fill({"a.json": b""})
    (folder.root / "b.json").symlink_to("missing.json")
    with pytest.raises(PreflightError, match=r"Could not look into .*/b\.json: No such file"):
        await names(folder, "")


async def test_a_path_below_a_file_is_an_error(folder: Folder) -> None:
    folder.fill({"a.json": b""})
    with pytest.raises(PreflightError, match=r"a\.json/x: Not a directory"):
        await names(folder, "a.json/x")


async def test_a_named_pipe_is_read_as_a_stream(folder: Folder, executor: ThreadPoolExecutor) -> None:
    os.mkfifo(folder.root / "pipe.json.gz")
    async with folder.source("pipe.json.gz") as source:
        file = await only(source)
        assert file == SourceFile(str(folder.root / "pipe.json.gz"), None, "", "gzip")
        writing = asyncio.get_running_loop().run_in_executor(
            executor, (folder.root / "pipe.json.gz").write_bytes, LARGE
        )
        assert await read(source, file) == LARGE
        await writing
        with pytest.raises(SourceError, match="is a stream"):
            await read(source, file, 1)


async def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(folder: Folder) -> None:
    path = folder.root / "a.json"
    path.write_bytes(b"{}")
    async with folder.source("a.json") as source:
        file = (await source.survey()).files[0]
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(SourceError, match=r"a\.json"):
            await anext(source.read(file))
        (folder.root / MANIFEST).parent.mkdir()
        os.mkfifo(folder.root / MANIFEST)
        with pytest.raises(SourceError, match=r"manifest\.json: It is not a regular file"):
            await source.manifest()


async def test_a_named_pipe_without_a_writer_can_be_left(folder: Folder) -> None:
    os.mkfifo(folder.root / "pipe")
    async with folder.source("pipe") as source:
        reading = asyncio.create_task(read(source, await only(source)))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading


# --- S3


async def test_an_exact_object_wins_over_what_lies_below_it(bucket: Bucket) -> None:
    bucket.fill({"data.v1": b"object", "data.v2/a.json": b"below", "data.v10/a.json": b"not below"})
    async with bucket.source("data.v1") as source:
        assert await read(source, await only(source)) == b"object"
    for name in ("data.v2", "data.v2/"):
        async with bucket.source(name) as source:
            assert await read(source, await only(source)) == b"below"


async def test_a_whole_bucket_is_a_source(bucket: Bucket) -> None:
    bucket.fill({"a.json": b"1"})
    async with S3Source(bucket.client, bucket.name, "") as source:
        assert [file.name for file in await source.files()] == ["exports/run 1/a.json"]


async def test_a_body_that_breaks_off_is_taken_up_again(bucket: Bucket) -> None:
    bucket.fill({"a.json": LARGE})
    async with proxy(bucket.server.url) as line, s3_client(bucket.server, line.url) as client:
        source = bucket.source(client=client)
        file = await only(source)
        line.cuts = [3 * MIB + 500, 2 * MIB, 5 * MIB, 4 * MIB]
        assert await read(source, file, 7) == LARGE[7:]
        assert line.cut == 4


async def test_a_body_that_always_breaks_off_is_given_up(bucket: Bucket) -> None:
    bucket.fill({"a.json": LARGE})
    async with proxy(bucket.server.url) as line, s3_client(bucket.server, line.url) as client:
        source = bucket.source(client=client)
        file = await only(source)
        line.cuts = [100_000] * 9
        with pytest.raises(SourceError, match=r"Could not read s3://.*/a\.json from byte 0: .* Check the network"):
            await read(source, file)
        assert line.cut == ATTEMPTS


async def test_an_object_longer_than_listed_is_not_read_in_part(bucket: Bucket) -> None:
    bucket.fill({"a.json": b"{}\n" * 9})
    async with bucket.source() as source:
        file = await only(source)
        with pytest.raises(SourceError, match="the reply is not the range that was asked for"):
            await read(source, file._replace(size=24))


async def test_an_object_of_less_than_no_bytes_is_refused() -> None:
    class Client:
        async def head_object(self, **_: str) -> dict[str, Any]:
            return {"ContentLength": -1, "ETag": '"x"'}

    with pytest.raises(PreflightError, match="reports -1 bytes"):
        await S3Source(Client(), "bucket", "a.json").survey()


async def test_a_missing_bucket_is_named(s3: Server) -> None:
    async with s3_client(s3) as client, S3Source(client, "no-such-bucket-here", "x") as source:
        with pytest.raises(PreflightError, match=r"look into s3://no-such-bucket-here/x: NoSuchBucket.*no such bucket"):
            await source.files()


# --- standard input


async def stdin_read(stream: Any, executor: ThreadPoolExecutor) -> bytes:
    async with StdinSource(stream, executor=executor) as source:
        file = await only(source)
        assert file == SourceFile("-", None, "", "none")
        assert await source.manifest() is None
        assert (await source.survey()).exports == ()
        return await read(source, file)


async def test_a_pipe_is_read_to_its_end(executor: ThreadPoolExecutor) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb") as writer:
        loop = asyncio.get_running_loop()

        def write() -> None:
            writer.write(LARGE)
            writer.close()

        written = loop.run_in_executor(executor, write)
        assert await stdin_read(stream, executor) == LARGE
        await written


async def test_a_redirected_file_is_read_to_its_end(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    (tmp_path / "a.json").write_bytes(LARGE)
    with (tmp_path / "a.json").open("rb") as stream:
        assert await stdin_read(stream, executor) == LARGE


async def test_a_stream_in_memory_is_read_to_its_end(executor: ThreadPoolExecutor) -> None:
    assert await stdin_read(io.BytesIO(LARGE), executor) == LARGE


async def test_a_stream_through_which_nothing_comes_is_no_empty_file(executor: ThreadPoolExecutor) -> None:
    """The program before the pipe has failed, perhaps."""
    with os.fdopen(os.open(os.devnull, os.O_RDONLY), "rb") as silent:
        for stream in (silent, io.BytesIO()):
            with pytest.raises(SourceError, match="Nothing came through standard input"):
                await stdin_read(stream, executor)


async def test_a_pipe_that_stays_silent_can_be_left(executor: ThreadPoolExecutor) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb", buffering=0) as writer:
        async with StdinSource(stream, executor=executor) as source:
            chunks = source.read(await only(source))
            writer.write(b"{}\n")
            assert await anext(chunks) == b"{}\n"
            waiting = asyncio.create_task(anext(chunks))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting


async def test_standard_input_has_no_middle(executor: ThreadPoolExecutor) -> None:
    async with StdinSource(io.BytesIO(b"123"), executor=executor) as source:
        with pytest.raises(SourceError, match="standard input is a stream"):
            await read(source, await only(source), 2)


def test_a_local_source_is_what_was_asked_for(executor: ThreadPoolExecutor) -> None:
    assert LocalSource("data/*.json", executor=executor).location == "data/*.json"
