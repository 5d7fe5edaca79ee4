"""A manifest that is not what the export wrote is noticed, whatever was done to it."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from ddbio import Connection, Event, ImportOptions, VerifyOptions, VerifyReport, Warned, import_table, verify_export
from ddbio.audit.finished_export import find_export
from ddbio.errors import DdbioError, SourceError, UsageError
from ddbio.ledger.manifest import encode, read_files, read_manifest, read_types
from ddbio.storage.local.source import LocalSource
from tests.kit.command import ddbio
from tests.kit.damage import CONTRADICTIONS, GOLDEN, USELESS, Change, Damage, Document, Where, changes, drop, put
from tests.kit.marks import examples
from tests.kit.servers.aws import REGION, Server

OLD = GOLDEN.parent
TEXT = (GOLDEN / "_ddbio" / "manifest.json").read_bytes()
SEALED = encode(read_manifest(TEXT, "golden"))
"""The same manifest, as it is written now."""


class Copy:
    """A copy of the golden export, whose manifest can be changed."""

    def __init__(self, folder: Path) -> None:
        shutil.copytree(GOLDEN, folder)
        self.folder = folder
        self.manifest = folder / "_ddbio" / "manifest.json"
        self.document: Document = json.loads(TEXT)
        self.events: list[Event] = []

    def write(self, document: Document) -> None:
        self.manifest.write_text(json.dumps(document))

    def change(self, change: Callable[[Document], object]) -> None:
        change(self.document)
        self.write(self.document)

    async def verify(self, **options: Any) -> VerifyReport:
        return await verify_export(VerifyOptions(source=str(self.folder), **options), observer=self.events.append)

    @property
    def warnings(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Warned)]


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path / "out")


def connect(server: Server) -> Connection:
    return Connection(region=REGION, dynamodb_endpoint_url=server.url)


async def test_an_export_by_a_version_without_checksums_is_verified(copy: Copy) -> None:
    report = await copy.verify()
    assert (report.clean, report.items, report.files) == (True, 12, 4)
    assert copy.warnings == ["The manifest has no checksum: whether it was changed can't be told for certain."]


async def test_with_a_checksum_nothing_is_left_to_say(copy: Copy) -> None:
    copy.manifest.write_bytes(SEALED)
    assert (await copy.verify()).clean
    assert copy.warnings == []


@pytest.mark.parametrize("damage", CONTRADICTIONS, ids=lambda damage: damage.name)
async def test_what_can_not_be_true_is_a_problem(copy: Copy, damage: Damage) -> None:
    copy.change(damage.change)
    report = await copy.verify()
    assert not report.clean
    assert [problem for problem in report.problems if damage.told in problem], report.problems


@pytest.mark.parametrize("damage", USELESS, ids=lambda damage: damage.name)
async def test_what_is_of_no_use_is_refused_with_its_place(copy: Copy, damage: Damage) -> None:
    copy.change(damage.change)
    with pytest.raises(SourceError, match=damage.told) as caught:
        await copy.verify()
    assert str(copy.folder) in caught.value.message
    assert caught.value.hint


async def test_a_wrong_checksum_is_refused_by_all_who_read_it(copy: Copy, moto: Server, tmp_path: Path) -> None:
    copy.document = json.loads(SEALED)
    copy.change(put("run", value="another"))
    table = moto.create_table(key=(("hash", "S"), ("range", "N")))
    jobs = (
        copy.verify(),
        copy.verify(table=table, connection=connect(moto)),
        import_table(
            ImportOptions(table=table, source=str(copy.folder), state=str(tmp_path / "state"), connection=connect(moto))
        ),
    )
    for job in jobs:
        with pytest.raises(SourceError, match=r"manifest of .*/out is damaged: its checksum is wrong") as caught:
            await job
        assert "copy" in (caught.value.hint or "")
    assert moto.items(table) == []


async def test_files_of_an_impossible_segment_are_still_read(copy: Copy, moto: Server) -> None:
    table = moto.create_table(key=(("hash", "S"), ("range", "N")))
    copy.change(put("files", 3, "segment", value=7))
    report = await copy.verify(table=table, connection=connect(moto), repair=True)
    assert (report.items, report.missing, report.repaired) == (12, 12, 0)
    assert len(report.problems) == 2
    assert moto.items(table) == []


async def test_nothing_passes_for_an_empty_table(copy: Copy, moto: Server) -> None:
    table = moto.create_table(key=(("hash", "S"), ("range", "N")))
    copy.change(put("files", value=[]))
    for file in copy.folder.glob("*.json"):
        file.unlink()
    assert len((await copy.verify(table=table, connection=connect(moto))).problems) == 2
    copy.change(put("segments", value=0))
    with pytest.raises(SourceError, match="segments, not 0"):
        await copy.verify(table=table, connection=connect(moto))


@pytest.mark.parametrize("upgraded", [False, True])
async def test_the_manifest_of_an_import_is_no_export(copy: Copy, upgraded: bool) -> None:
    text = (OLD / "manifest-1-of-an-import" / "_ddbio" / "manifest.json").read_bytes()
    copy.manifest.write_bytes(encode(read_manifest(text, "golden")) if upgraded else text)
    with pytest.raises(UsageError, match="holds no export"):
        await copy.verify()


async def test_the_command_says_what_is_wrong(copy: Copy) -> None:
    copy.change(drop("files", 0))
    done = await asyncio.to_thread(ddbio, "verify", "-s", str(copy.folder), environment={})
    assert (done.code, done.out) == (1, b"")
    assert "problem: The manifest says 12 items in all" in done.err
    copy.change(put("identity", "keys", 0, 1, value="X"))
    done = await asyncio.to_thread(ddbio, "verify", "-s", str(copy.folder), environment={})
    assert (done.code, len(done.errors)) == (1, 1)
    assert "manifest" in done.err
    assert "unforeseen" not in done.err


@given(changes(json.loads(SEALED)))
def test_with_a_checksum_any_change_is_noticed(change: Change) -> None:
    text = json.dumps(change.document).encode()
    if "checksum" not in change.document:
        assert read_manifest(text, "here").checksum is None
        return
    for read in (read_manifest, read_types, read_files):
        with pytest.raises(SourceError, match="The manifest of here"):
            read(text, "here")


def _matters(kind: str, where: Where) -> bool:
    """Whether a change of this member can be told by the others and by the files."""
    match where:
        case ("files", _, "first" | "last" | "token", *_):
            return False
        case ("files", _):
            return kind != "swap"
        case ("identity", "command" | "table" | "format" | "compress" | "fingerprint") | ("identity", "keys", _, _):
            return True
        case ("totals", member):
            return member in ("items", "bytes", "rejected")
        case _:
            return where[0] in ("ddbio_manifest", "files", "segments", "type_hints")


@examples(150)
@given(changes(json.loads(TEXT), _matters))
def test_without_one_what_matters_is_noticed_by_the_rest(change: Change) -> None:
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(Path(folder) / "out")
        copy.write(change.document)
        try:
            assert asyncio.run(copy.verify()).problems
        except DdbioError as error:
            assert "manifest" in error.message


async def test_an_export_that_another_one_has_replaced_is_refused(copy: Copy, executor: ThreadPoolExecutor) -> None:
    async with LocalSource(str(copy.folder), executor=executor) as source:
        found = await find_export(source)
        assert (await find_export(source, run=found.manifest.run)).manifest == found.manifest
        with pytest.raises(SourceError, match="Another export was written"):
            await find_export(source, run="another")
