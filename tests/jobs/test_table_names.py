"""A table by its ARN, and tables whose names a file system or a query engine would not take as they are."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ddbio import export_table, import_table, verify_export
from ddbio.errors import DdbioError, LimitReachedError, PreflightError, UsageError
from ddbio.events import Event, Warned
from ddbio.options import Capacity, Connection, ExportOptions, ImportOptions, VerifyOptions
from ddbio.report import JobReport
from tests.conftest import StartCounting
from tests.kit.marks import few
from tests.kit.servers.aws import REGION
from tests.kit.servers.counting import ACCOUNT_ID, CountingServer
from tests.kit.servers.http import Handler, Reply, Request
from tests.kit.servers.tables import Table

FAST = Capacity(units=1e6)


def arn(name: str, region: str = REGION, account: str = ACCOUNT_ID) -> str:
    return f"arn:aws:dynamodb:{region}:{account}:table/{name}"


class Jobs:
    """Jobs on the tables of one server, in one folder; `asked` are the names of tables in all requests."""

    def __init__(self, server: CountingServer, folder: Path) -> None:
        self.connection = Connection(region=REGION, dynamodb_endpoint_url=server.url)
        self.folder = folder
        self.events: list[Event] = []
        self.asked: Counter[str] = Counter()
        server.on_request = self._note

    async def _note(self, request: Request, serve: Handler) -> Reply:
        payload = request.payload
        self.asked.update(list(payload.get("RequestItems") or [payload["TableName"]]))
        return await serve(request)

    @property
    def warnings(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Warned)]

    async def export(self, table: str, **members: Any) -> JobReport:
        members = {"destination": str(self.folder / "out"), "capacity": FAST, "segments": 2, **members}
        options = ExportOptions(table=table, connection=self.connection, **members)
        return await export_table(options, observer=self.events.append)

    async def load(self, table: str, source: str = "out", **members: Any) -> JobReport:
        members = {"state": str(self.folder / "state"), "capacity": FAST, **members}
        options = ImportOptions(table=table, connection=self.connection, source=str(self.folder / source), **members)
        return await import_table(options, observer=self.events.append)

    def files(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "out").iterdir() if path.is_file())


async def jobs(counting: StartCounting, folder: Path, *names: str) -> Jobs:
    tables = [Table(name=name, items=3_000, seed=number) for number, name in enumerate(names)]
    return Jobs(await counting(*tables, Table(name="Copy", mode="stored")), folder)


async def test_a_table_named_by_its_arn_has_the_files_of_its_name(counting: StartCounting, tmp_path: Path) -> None:
    run = await jobs(counting, tmp_path, "Orders")
    whole = await run.export(arn("Orders"), segments=8)
    assert run.files() == [f"Orders-000{segment}-00000.json" for segment in range(8)]
    again = await run.export(arn("Orders"), overwrite=True)
    assert run.files() == ["Orders-0000-00000.json", "Orders-0001-00000.json"]
    assert whole.items == again.items == 3_000
    (tmp_path / "out" / "Orders-0000-00001.json.dead-0-0.part").touch()
    await run.export("Orders", overwrite=True)
    assert len(run.files()) == 2
    loaded = await run.load(arn("Copy"))
    assert (loaded.items, loaded.table) == (3_000, "Copy")
    found = await verify_export(
        VerifyOptions(source=str(tmp_path / "out"), table=arn("Copy"), connection=run.connection, capacity=FAST)
    )
    assert (found.clean, found.scanned) == (True, 3_000)
    assert run.warnings == []
    assert run.asked.keys() == {arn("Orders"), "Orders", arn("Copy")}


async def test_a_job_that_was_begun_by_the_arn_goes_on_by_the_name(counting: StartCounting, tmp_path: Path) -> None:
    run = await jobs(counting, tmp_path, "Orders")
    with pytest.raises(LimitReachedError):
        await run.export(arn("Orders"), max_units=1, concurrency=1)
    await run.export("Orders", resume=True)
    assert all(name.startswith("Orders-000") for name in run.files())
    assert (await run.load("Copy")).items == 3_000


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (arn("Orders", region="eu-west-1"), "is in eu-west-1, and the connection goes to us-east-1. Give --region"),
        (arn("Orders", account="999999999999"), "was asked for, and http://.* describes arn:aws:dynamodb:us-east-1:"),
        (arn("Orders") + "/index/by-date", "is not the ARN of a table"),
        ("arn:aws:s3:::Orders", "is not the ARN of a table"),
    ],
)
async def test_an_arn_of_something_else_is_refused(
    asked: str, told: str, counting: StartCounting, tmp_path: Path
) -> None:
    run = await jobs(counting, tmp_path, "Orders")
    for job in (run.export(asked), run.load(asked)):
        with pytest.raises((UsageError, PreflightError), match=told):
            await job
    assert not (tmp_path / "out").exists()


async def test_an_endpoint_with_a_path_for_a_table_name_is_refused(counting: StartCounting, tmp_path: Path) -> None:
    run = await jobs(counting, tmp_path, "../../evil")
    with pytest.raises(PreflightError, match="which is not a valid name"):
        await run.export("../../evil")


@pytest.mark.parametrize("name", ["_Orders", ".Orders", "-Orders", "...", "a..b"])
@pytest.mark.parametrize("pattern", few(["out", "out/*"], 1))
async def test_files_of_any_table_are_imported_and_verified(
    name: str, pattern: str, counting: StartCounting, tmp_path: Path
) -> None:
    run = await jobs(counting, tmp_path, name)
    await run.export(name)
    hidden = name[0] in "_."
    assert [f"begin with {name[0]!r}" in warning for warning in run.warnings] == [True] * hidden
    (tmp_path / "out" / "_other.json").write_text("{}")
    (tmp_path / "out" / f"._{name}-0000-00000.json").write_text("macOS leaves such files")
    assert (await run.load("Copy", pattern)).items == 3_000
    assert (await verify_export(VerifyOptions(source=str(tmp_path / "out"), connection=run.connection))).clean


@pytest.mark.parametrize("length", few([180, 181, 209, 255], 3))
async def test_a_table_s_name_may_be_as_long_as_it_likes(length: int, counting: StartCounting, tmp_path: Path) -> None:
    name = "x" * length
    run = await jobs(counting, tmp_path, name, "x" * (length - 1) + "y")
    with pytest.raises(LimitReachedError):
        await run.export(name, max_units=1, concurrency=1, compress="zstd")
    await run.export(name, resume=True, compress="zstd")
    with pytest.raises(DdbioError, match="already holds an export"):
        await run.export(name)
    manifest = json.loads((tmp_path / "out" / "_ddbio" / "manifest.json").read_bytes())
    assert manifest["identity"]["table"] == name
    assert (await run.load("Copy")).items == 3_000


async def test_the_state_of_a_long_table_name_has_a_name_that_fits(
    counting: StartCounting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Jobs(await counting(Table(name="x" * 255, mode="stored")), tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.json").write_text('{"pk": "a", "sk": 1}\n')
    assert (await run.load("x" * 255, "a.json", state=None)).items == 1
    (folder,) = (tmp_path / ".ddbio").iterdir()
    assert len(folder.name) < 200
