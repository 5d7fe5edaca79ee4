"""What a local sink calls durable outlives a loss of power at any later instant; what it seals appears whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ddbio.errors import JournalError
from ddbio.ledger.entries import Commit, KnownSplit, Opened
from ddbio.ledger.journal import Journal
from ddbio.ledger.law import ExportLaw
from ddbio.ledger.ledger import Ledger
from ddbio.ledger.positions import AtOffset
from ddbio.names import final_name
from ddbio.storage.local.disk import seal_at
from ddbio.storage.local.sink import LocalSink
from ddbio.storage.tokens import LocalToken
from tests.kit.identities import EXPORT
from tests.kit.marks import few
from tests.kit.places import blocks
from tests.kit.powerloss import Disk, recording

NAME = "Table-0007-00001.json"
DATA = blocks(6, 40_000)
WHOLE = b"".join(DATA)
Check = Callable[[Path], bool]


class Promises:
    """What was promised, and since when."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._since: list[tuple[int, str, Check]] = []

    def add(self, what: str, check: Check) -> None:
        """From now on `check(folder)` holds, whatever becomes of the power."""
        self._since.append((self._disk.point, what, check))

    def broken(self) -> list[str]:
        """The promises that a loss of power breaks."""
        return [
            f"{what}, after {state.call} ({state.point}, {state.variant})"
            for state in self._disk.states()
            for since, what, check in self._since
            if since <= state.point and not check(state.folder / "out")
        ]


def holds(name: str, size: int) -> Check:
    """Whether the file is there, sealed or not, with at least `size` bytes that are right."""

    def check(folder: Path) -> bool:
        found = [path for path in (folder / name, folder / f"{name}.run7.part") if path.exists()]
        return any(path.read_bytes()[:size] == WHOLE[:size] and path.stat().st_size >= size for path in found)

    return check


def is_sealed(name: str, data: bytes) -> Check:
    """Whether the file has its final name and this content."""
    return lambda folder: (folder / name).is_file() and (folder / name).read_bytes() == data


async def test_what_was_called_durable_survives_a_power_loss(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    with recording(tmp_path) as disk:
        promises = Promises(disk)
        async with LocalSink(tmp_path / "out", "run7", executor=executor) as sink:
            await sink.put("_ddbio/journal/1", b"one")
            promises.add("the journal is there", is_sealed("_ddbio/journal/1", b"one"))
            for name in (NAME, "deep/er/file.json"):
                file = await sink.create(name, max_bytes=len(WHOLE))
                for block in DATA:
                    await file.write(block)
                    size = await file.sync()
                    promises.add(f"{size} bytes are there", holds(name, size))
                size = await file.finish()
                promises.add("all bytes are there", holds(name, size))
                await file.seal()
                promises.add("the file is sealed", is_sealed(name, WHOLE))
            empty = await sink.create("empty.json", max_bytes=0)
            promises.add("nothing is lost", holds(NAME, await empty.finish()))
            await empty.seal()
            promises.add("the empty file is sealed", is_sealed("empty.json", b""))
    assert disk.point > 20
    assert promises.broken() == []


async def test_an_object_is_the_old_one_or_the_new_one(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    versions = [b"old" * 9, b"new", b"newer" * 5]
    with recording(tmp_path) as disk:
        promises = Promises(disk)
        async with LocalSink(tmp_path / "out", "run7", executor=executor) as sink:
            for number, data in enumerate(versions):
                await sink.put("m.json", data)
                allowed = versions[number:]
                promises.add(f"version {number}", lambda folder, ok=allowed: (folder / "m.json").read_bytes() in ok)  # type: ignore[misc]
    assert promises.broken() == []


async def test_a_sealed_name_never_stands_for_less_than_the_whole(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    with recording(tmp_path) as disk:
        async with LocalSink(tmp_path / "out", "run7", executor=executor) as sink:
            file = await sink.create(NAME, max_bytes=len(WHOLE))
            for block in DATA:
                await file.write(block)
            await file.seal()
    for state in disk.states():
        sealed = state.folder / "out" / NAME
        assert not sealed.exists() or sealed.read_bytes() == WHOLE


async def test_a_recovery_can_be_cut_off_by_the_power_and_done_again(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    size = len(DATA[0]) * 3
    (tmp_path / "out").mkdir()
    part = tmp_path / "out" / f"{NAME}.run7.part"
    part.write_bytes(WHOLE[: size + 12_345])
    with recording(tmp_path) as disk:
        promises = Promises(disk)
        async with LocalSink(tmp_path / "out", "run8", executor=executor) as sink:
            assert await sink.recover(NAME, size, LocalToken(part.name))
            promises.add("the file is sealed", is_sealed(NAME, WHOLE[:size]))
    assert promises.broken() == []
    for state in disk.states():
        folder = state.folder / "out"
        assert await asyncio.to_thread(seal_at, folder / NAME, part.name, size)
        assert [path.name for path in folder.iterdir()] == [NAME]
        assert (folder / NAME).read_bytes() == WHOLE[:size]


async def read(folder: Path, executor: ThreadPoolExecutor) -> list[int] | None:
    """The offsets in the journal there; None where it is damaged."""
    journal = Journal(LocalSink(folder, "run8", executor=executor))
    try:
        entries = [entry async for chunk in journal.read() for entry in chunk]
    except JournalError:
        return None
    positions = [
        entry.state.position if isinstance(entry, KnownSplit) else getattr(entry, "position", None) for entry in entries
    ]
    return [position.offset if isinstance(position, AtOffset) else 0 for position in positions]


@pytest.mark.parametrize("end", few(["remove", "discard"], 0))
async def test_a_journal_outlives_its_compactions(end: str, tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    opened = Opened("run", EXPORT, 1)
    durable: list[tuple[int, int]] = []
    with recording(tmp_path) as disk:
        async with LocalSink(tmp_path / "out", "run7", executor=executor) as sink:
            journal = Journal(sink, compact_after=2)
            ledger = Ledger(ExportLaw(), journal)
            await ledger.record([opened])
            for position in range(1, 6):
                await ledger.record([Commit(0, 1, position, AtOffset(position))])
                durable.append((disk.point, position))
                if others := asyncio.all_tasks() - {asyncio.current_task()}:
                    await asyncio.wait(others)  # a compaction
            ending = disk.point
            await getattr(journal, end)()
    names = []
    for state in disk.states():
        folder = state.folder / "out"
        names += [path.name for path in folder.rglob("*-compacted.json")]
        positions = await read(folder, executor)
        known = [position for point, position in durable if point <= state.point]
        if state.point <= ending:
            assert not known or (positions and positions[-1] >= known[-1]), state
        elif end == "discard":
            assert not positions or positions[-1] == 5, state
        else:
            assert await Journal(LocalSink(folder, "run8", executor=executor)).opened() in (opened, None), state
    assert {"00000002-compacted.json", "00000004-compacted.json"} <= set(names)


@pytest.mark.parametrize("forgotten", ["fsync", "fdatasync", "sync_folder"])
async def test_a_sync_that_was_forgotten_is_found(
    forgotten: str, tmp_path: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with recording(tmp_path) as disk, monkeypatch.context() as patch:
        where = "ddbio.storage.local.disk" if forgotten == "sync_folder" else "os"
        patch.setattr(f"{where}.{forgotten}", lambda _: None)
        promises = Promises(disk)
        async with LocalSink(tmp_path / "out", "run7", executor=executor) as sink:
            file = await sink.create(NAME, max_bytes=1)
            await file.write(DATA[0])
            promises.add("what is synced is there", holds(NAME, await file.sync()))
            await sink.put("m.json", b"{}")
            promises.add("what is put is there", is_sealed("m.json", b"{}"))
    assert promises.broken() != []


def test_the_name_of_an_unfinished_file_gives_its_final_name() -> None:
    assert final_name(f"a/b/{NAME}.run7.part") == f"a/b/{NAME}"
    assert final_name(NAME) is None
    assert final_name("x.part") is None
