"""What a dead run leaves behind is sealed at a durable offset, or swept away: one suite over every place."""

from __future__ import annotations

import asyncio
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ddbio.errors import DestinationError
from ddbio.ledger.entries import Used
from ddbio.ledger.journal import Journal
from ddbio.ledger.law import ExportLaw
from ddbio.ledger.ledger import Ledger
from ddbio.ledger.recovery import sweep
from ddbio.storage.base import OutputFile, Sink
from ddbio.storage.local.sink import LocalSink
from ddbio.storage.s3.output_file import S3OutputFile
from ddbio.storage.s3.tuning import DEFAULT, MIB
from ddbio.storage.stdio import StdoutSink
from ddbio.storage.tokens import LocalToken, Part, Token, UploadToken
from tests.kit.faulty import proxy
from tests.kit.places import Bucket, Place, blocks, s3_client, write_all
from tests.kit.servers.aws import Server

NAME = "Table-0007-00001.json"


def handed_on(file: OutputFile) -> Token | None:
    """The file's token as it comes out of a journal."""
    token: Token | None = msgspec.json.decode(msgspec.json.encode(file.resume_token), type=Token | None)
    return token


async def leave_behind(sink: Sink, data: list[bytes], name: str = NAME) -> tuple[int, Token | None]:
    """A file whose run dies after `finish`: its size and its token."""
    file = await sink.create(name, max_bytes=sum(map(len, data)))
    await write_all(file, data)
    size = await file.finish()
    token = handed_on(file)
    await file.leave()
    return size, token


def everything(name: str) -> bool:
    return True


# --- every place


async def test_another_process_can_seal_at_any_durable_offset(place: Place) -> None:
    data = blocks(3, 8 * MIB)
    whole = b"".join(data)
    for count in (1, 3):
        async with place.sink() as sink:
            file = await sink.create(NAME, max_bytes=MIB)
            await write_all(file, data[:count])
            size = await file.finish()
            token = handed_on(file)
            if isinstance(place, Bucket):
                assert len(msgspec.json.encode(token)) < 300 + 80 * count
            await file.leave()
        assert place.finished() == {}
        for _ in range(2):  # the news of the first may have been lost
            async with place.sink("run8") as sink:
                assert await sink.recover(NAME, size, token)
        assert place.finished() == {NAME: whole[:size]}
        assert place.unfinished() == []
        place.remove(NAME)


async def test_what_came_after_the_offset_is_cut_off(place: Place) -> None:
    data = blocks(3, 8 * MIB)
    async with place.sink() as sink:
        size, token = await leave_behind(sink, [*data, b"not journaled"])
        assert size == 24 * MIB + 13
    async with place.sink("run8") as sink:
        assert await sink.recover(NAME, 16 * MIB, token)
    assert place.finished() == {NAME: b"".join(data[:2])}
    assert place.unfinished() == []


async def test_a_later_token_serves_an_earlier_offset(place: Place) -> None:
    async with place.sink() as sink:
        file = await sink.create(NAME, max_bytes=MIB)
        await write_all(file, blocks(2, 8 * MIB))
        early = await file.finish() - 8 * MIB
        assert await sink.recover(NAME, early, handed_on(file))
        await file.leave()
    assert place.finished() == {NAME: blocks(1, 8 * MIB)[0]}


async def test_a_file_that_was_sealed_is_found_so(place: Place) -> None:
    async with place.sink() as sink:
        file = await sink.create(NAME, max_bytes=MIB)
        await file.write(b"{}\n")
        size, token = await file.finish(), handed_on(file)
        await file.seal()
    async with place.sink("run8") as sink:
        assert await sink.recover(NAME, size, token)
        assert not await sink.recover(NAME, size, None)
    assert place.finished() == {NAME: b"{}\n"}


async def test_a_file_that_is_too_short_is_removed(place: Place) -> None:
    async with place.sink() as sink:
        size, token = await leave_behind(sink, [bytes(1000)])
    async with place.sink("run8") as sink:
        for _ in range(2):
            if isinstance(place, Bucket) and place.server.name == "moto" and not place.unfinished():
                continue  # moto answers 500 to an upload that it does not know
            assert not await sink.recover(NAME, size + 1, token)
    assert place.finished() == {}
    assert place.unfinished() == []


async def test_a_file_that_is_left_outlives_its_sink(place: Place) -> None:
    async with place.sink() as sink:
        file = await sink.create(NAME, max_bytes=MIB)
        await write_all(file, blocks(2, 8 * MIB))
        await file.finish()
        await file.leave()
        await file.leave()
    assert len(place.unfinished()) == 1


async def test_a_sweep_removes_what_is_unfinished_and_nothing_else(place: Place) -> None:
    place.fill({"a.json": b"1", "_ddbio/manifest.json": b"{}"})
    async with place.sink("dead") as sink:
        for name in ("a.json", "b.json", "c.json", "other.txt", "_ddbio/x"):
            await leave_behind(sink, [b"2"], name)
    async with place.sink("dead2") as sink:
        await leave_behind(sink, [b"3"], "a.json")
    async with place.sink() as sink:
        removed = await sink.sweep(lambda name: name.endswith(".json"), {"c.json"})
        assert removed == ["_ddbio/x", "a.json", "b.json"]
        assert await sink.sweep(lambda name: name.endswith(".json"), {"c.json"}) == []
        assert place.finished() == {"a.json": b"1", "_ddbio/manifest.json": b"{}"}
        assert len(place.unfinished()) == 2
        assert await sink.sweep(everything, ()) == ["c.json", "other.txt"]
    assert place.unfinished() == []


# --- the local folder


async def test_a_missing_part_file_needs_a_final_file_of_that_size(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    (tmp_path / NAME).write_bytes(b"12345")
    async with LocalSink(tmp_path, "run8", executor=executor) as sink:
        token = LocalToken(f"{NAME}.run7.part")
        assert await sink.recover(NAME, 5, token)
        assert not await sink.recover(NAME, 4, token)
    assert (tmp_path / NAME).read_bytes() == b"12345"


@pytest.mark.parametrize(
    "part", ["../victim", "victim", "{outside}", f"{NAME}.x/../victim.part", f"{NAME}.link.part", ""]
)
async def test_nothing_but_a_file_s_own_beginning_is_sealed(
    part: str, tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    victims = [tmp_path / "victim", tmp_path / "out" / "victim"]
    (tmp_path / "out").mkdir()
    for victim in victims:
        victim.write_bytes(b"precious")
    (tmp_path / "out" / f"{NAME}.link.part").symlink_to(victims[0])
    async with LocalSink(tmp_path / "out", "run8", executor=executor) as sink:
        with pytest.raises(DestinationError, match="Could not name"):
            await sink.recover(NAME, 5, LocalToken(part.format(outside=victims[0])))
    assert [victim.read_bytes() for victim in victims] == [b"precious"] * 2
    assert not (tmp_path / "out" / NAME).exists()


async def test_what_a_dead_put_left_is_swept(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    (tmp_path / "_ddbio" / "journal").mkdir(parents=True)
    left = tmp_path / "_ddbio" / "journal" / "00000001.json.run7.part"
    left.write_bytes(b"half")
    async with LocalSink(tmp_path, "run8", executor=executor) as sink:
        assert await sink.sweep(lambda name: False, ()) == ["_ddbio/journal/00000001.json"]
    assert not left.exists()


# --- S3


async def test_an_upload_that_is_gone_can_not_be_recovered(seaweed: Server) -> None:
    # moto answers 500 to an upload that it does not know.
    async with s3_client(seaweed) as client:
        bucket = Bucket(seaweed, client)
        async with bucket.sink() as sink:
            size, token = await leave_behind(sink, [b"12345"])
            await sink.sweep(everything, ())
            assert not await sink.recover(NAME, size, token)
            bucket.fill({NAME: b"54321"})  # as large, but not made of one part
            assert not await sink.recover(NAME, size, token)
    assert bucket.finished() == {NAME: b"54321"}


async def test_a_sweep_sees_every_page_of_uploads(bucket: Bucket) -> None:
    class Paged:
        def __getattr__(self, name: str) -> Any:
            return getattr(bucket.client, name)

        def get_paginator(self, name: str) -> Any:
            paginator = bucket.client.get_paginator(name)
            plain = paginator.paginate
            paginator.paginate = lambda **arguments: plain(**arguments, PaginationConfig={"PageSize": 2})
            return paginator

    names = [f"{number}.json" for number in range(5)]
    async with bucket.sink(client=Paged()) as sink:
        for name in names:
            file = await sink.create(name, max_bytes=1)
            await file.finish()
            await file.leave()
        assert await sink.sweep(everything, ()) == names
    assert bucket.unfinished() == []


@pytest.mark.parametrize(("stubborn", "aborts"), [(0, 1), (2, 3), (9, 3)])
async def test_an_abort_is_repeated_while_parts_turn_up(bucket: Bucket, stubborn: int, aborts: int) -> None:
    class Late:
        def __init__(self) -> None:
            self.aborts = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(bucket.client, name)

        async def abort_multipart_upload(self, **arguments: Any) -> Any:
            self.aborts += 1
            if self.aborts > stubborn:
                await bucket.client.abort_multipart_upload(**arguments)

    client = Late()
    async with bucket.sink() as sink:
        await leave_behind(sink, [b"12345"])
    async with bucket.sink(client=client) as sink:
        assert await sink.sweep(everything, ()) == ([NAME] if aborts > stubborn else [])
    assert client.aborts == aborts


async def test_a_dead_network_holds_up_nobody_for_long(bucket: Bucket) -> None:
    loop = asyncio.get_running_loop()
    async with proxy(bucket.server.url) as network, s3_client(bucket.server, network.url) as client:
        async with bucket.sink(client=client) as sink:
            for number in range(3):
                file = await sink.create(f"{number}.json", max_bytes=MIB)
                await write_all(file, blocks(1, 8 * MIB))
                await file.finish()
            network.stall_after = 0
            writing = asyncio.create_task(write_all(file, blocks(9, 8 * MIB)))
            await network.stalled.wait()
            writing.cancel()
            began = loop.time()
        assert DEFAULT.discard_seconds <= loop.time() - began < 2 * DEFAULT.discard_seconds
        assert len(bucket.unfinished()) == 3
        assert not [task for task in asyncio.all_tasks() if "S3" in repr(task.get_coro())]
    async with bucket.sink() as sink:
        assert len(await sink.sweep(everything, ())) == 3


async def test_a_refused_recovery_says_so(moto: Server) -> None:
    async with s3_client(moto) as client:
        bucket = Bucket(moto, client)
        async with bucket.sink() as sink:
            with pytest.raises(DestinationError, match=rf"complete s3://{bucket.name}/.*{NAME}: 500"):
                await sink.recover(NAME, 5, UploadToken("unknown", (Part(5, "0" * 32, ""),)))


# --- standard output


async def test_nothing_of_a_stream_is_recovered(executor: ThreadPoolExecutor) -> None:
    async with StdoutSink(io.BytesIO(), executor=executor) as sink:
        file = await sink.create(NAME, max_bytes=1)
        await file.write(b"{}\n")
        assert file.resume_token is None
        await file.leave()
        assert not await sink.recover(NAME, 3, None)
        assert await sink.sweep(everything, ()) == []
        async with sink.lock("run7"), sink.lock("run8"):
            pass


async def test_what_is_left_of_a_compaction_is_swept(place: Place) -> None:
    async with place.sink() as sink:
        create, begun = sink.create, asyncio.Event()

        async def create_slow(name: str, *, max_bytes: int) -> OutputFile:
            file = await create(name, max_bytes=max_bytes)

            async def never() -> int:
                begun.set()
                return await asyncio.Future()

            if isinstance(file, S3OutputFile):
                await file.begin()
            file.seal = never  # type: ignore[method-assign, assignment]
            return file

        sink.create = create_slow  # type: ignore[method-assign]
        ledger = Ledger(ExportLaw(), Journal(sink, compact_after=1))
        await ledger.record([Used()])
        await begun.wait()
        assert len(place.unfinished()) == 1
        await sweep(ledger, sink, "T")
        assert place.unfinished() == []
        assert list(place.finished()) == ["_ddbio/journal/00000001.json"]
