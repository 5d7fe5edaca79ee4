"""What earlier versions left: their manifests serve as they always did, their journals are refused in clear words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest

from ddbio import (
    Connection,
    ExportOptions,
    ImportOptions,
    VerifyOptions,
    export_table,
    import_table,
    verify_export,
)
from ddbio.errors import CheckpointMismatchError, JournalError
from ddbio.ledger.checkpoint import same_job
from ddbio.ledger.identity import ExportIdentity, ImportIdentity, SourceFiles
from ddbio.ledger.manifest import read_manifest
from ddbio.ledger.positions import END, START, AfterKey
from tests.kit.servers.aws import REGION, Server

GOLDEN = Path(__file__).parents[1] / "golden"
EXPORTS = {
    "manifest-1-without-checksum": 12,
    "manifest-1-jsonl-gzip": 24,
    "manifest-1-dynamodb-json": 24,
    "manifest-1-resumed": 12,
}


def connect(server: Server) -> Connection:
    return Connection(region=REGION, dynamodb_endpoint_url=server.url)


def copied(name: str, folder: Path) -> Path:
    return Path(shutil.copytree(GOLDEN / name, folder / name))


@pytest.mark.parametrize(("name", "items"), EXPORTS.items())
async def test_an_export_of_format_1_is_verified(name: str, items: int) -> None:
    report = await verify_export(VerifyOptions(source=str(GOLDEN / name)))
    assert (report.clean, report.items, report.problems) == (True, items, ())


@pytest.mark.parametrize("name", ["manifest-1-jsonl-gzip", "manifest-1-dynamodb-json"])
async def test_an_export_of_format_1_is_imported_whole(name: str, moto: Server, tmp_path: Path) -> None:
    table = moto.create_table(key=(("hash", "S"), ("range", "N")))
    source = str(GOLDEN / name)
    report = await import_table(
        ImportOptions(table=table, source=source, state=str(tmp_path / "state"), connection=connect(moto))
    )
    assert (report.items, report.rejected) == (24, 0)
    found = await verify_export(VerifyOptions(source=source, table=table, connection=connect(moto)))
    assert (found.clean, found.scanned) == (True, 24)


def test_options_and_positions_of_format_1_are_those_of_today() -> None:
    manifest = read_manifest((GOLDEN / "manifest-1-resumed" / "_ddbio" / "manifest.json").read_bytes(), "golden")
    identity = manifest.identity
    assert isinstance(identity, ExportIdentity)
    assert (identity.table, identity.compress, identity.index, identity.kms_key) == ("Large", "gzip", None, None)
    after = AfterKey('{"hash":{"S":"k3"}}')
    assert [(file.first, file.last) for file in manifest.files] == [(START, after), (after, END)]


def test_an_import_of_format_1_is_the_same_import_today() -> None:
    manifest = read_manifest((GOLDEN / "manifest-1-of-an-import" / "_ddbio" / "manifest.json").read_bytes(), "golden")
    identity = manifest.identity
    assert isinstance(identity, ImportIdentity)
    assert identity.sources == ("/tmp/golden/in.jsonl",)
    assert identity.source_files == SourceFiles(1, 28_130, "adf8da093a941d43")


@pytest.mark.parametrize("sources", [("/in/a", "/in/b"), ("/in/a, b",)])
def test_sources_of_format_1_are_compared_as_one_text(sources: tuple[str, ...]) -> None:
    text = (GOLDEN / "manifest-1-of-an-import" / "_ddbio" / "manifest.json").read_text()
    text = json.dumps(json.loads(text.replace("/tmp/golden/in.jsonl", ", ".join(sources))) | {"checksum": None})
    identity = read_manifest(text.encode(), "golden").identity
    assert isinstance(identity, ImportIdentity)
    same_job(identity, msgspec.structs.replace(identity, sources=sources))
    other = msgspec.structs.replace(identity, sources=("/in/c",))
    with pytest.raises(CheckpointMismatchError, match="Its sources: /in/a, b before, /in/c now"):
        same_job(msgspec.structs.replace(identity, sources=("/in/a, b",)), other)


@pytest.mark.parametrize("resume", [True, False])
async def test_an_export_with_a_journal_of_format_1_is_refused(resume: bool, moto: Server, tmp_path: Path) -> None:
    table = moto.create_table(key=(("hash", "S"), ("range", "N")))
    folder = copied("journal-1-export", tmp_path)
    before = sorted(path.name for path in folder.rglob("*"))
    options = ExportOptions(table=table, destination=str(folder), connection=connect(moto), resume=resume)
    with pytest.raises(JournalError, match="by an earlier version of ddbio: its format is 1") as caught:
        await export_table(options)
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("Finish the job with the version that began it, or start over")
    assert sorted(path.name for path in folder.rglob("*") if path.name != "lock") == before


async def test_an_export_of_format_1_can_be_overwritten(moto: Server, tmp_path: Path) -> None:
    table = moto.create_table(key=(("hash", "S"), ("range", "N")))
    folder = copied("journal-1-export", tmp_path)
    await export_table(ExportOptions(table=table, destination=str(folder), connection=connect(moto), overwrite=True))
    assert read_manifest((folder / "_ddbio" / "manifest.json").read_bytes(), "here").identity.table == table
    assert not list((folder / "_ddbio").glob("journal/*"))


@pytest.mark.parametrize("resume", [True, False])
async def test_an_import_with_a_journal_of_format_1_is_refused(resume: bool, moto: Server, tmp_path: Path) -> None:
    table = moto.create_table(key=(("hash", "S"), ("range", "N")))
    state = copied("journal-1-import", tmp_path)
    source = str(GOLDEN / "manifest-1-dynamodb-json")
    options = ImportOptions(table=table, source=source, state=str(state), connection=connect(moto), resume=resume)
    with pytest.raises(JournalError, match="by an earlier version of ddbio: its format is 1") as caught:
        await import_table(options)
    assert "another --state" in str(caught.value.hint)
    assert moto.items(table) == []
