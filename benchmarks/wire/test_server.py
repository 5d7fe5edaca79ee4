"""The benchmarks' server of canned replies, under the command itself: what it says that it served is what arrives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.inputs import write_items
from benchmarks.wire.running import WireServer, run_wire_server
from benchmarks.wire.tables import page_of
from tests.kit.servers.client import call

PAGES = 5


@pytest.fixture(scope="module")
def wire() -> Iterator[WireServer]:
    with run_wire_server() as server:
        yield server


def ddbio(server: WireServer, *arguments: str, tls: bool) -> Any:
    """The command's report; it takes the server for the service, or it fails."""
    command = [sys.executable, "-m", "ddbio", *arguments, "-p", "1", "-c", "100000", "--quiet", "--json"]
    environment = {**os.environ, **server.environment(tls=tls)}
    return json.loads(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)


def test_an_export_gets_every_page_over_tls(wire: WireServer, tmp_path: Path) -> None:
    before = wire.counts()
    line = ("export", "-t", f"nested-{PAGES}", "-d", str(tmp_path), "--segments", "3", "--format", "dynamodb-json")
    report = ddbio(wire, *line, tls=True)
    after = wire.counts()
    assert (after["pages"] - before["pages"], after["items"] - before["items"]) == (PAGES, report["items"])
    assert report["items"] == PAGES * page_of("nested").items


def test_an_import_puts_every_item(wire: WireServer, tmp_path: Path) -> None:
    write_items(tmp_path / "items.json", "small", 1010)
    before = wire.counts()
    line = ("import", "-t", "small-0", "-s", str(tmp_path / "items.json"), "--state", str(tmp_path / "state"))
    report = ddbio(wire, *line, tls=False)
    assert report["items"] == wire.counts()["puts"] - before["puts"] == 1010


async def test_a_segment_without_pages_and_an_unknown_table(wire: WireServer) -> None:
    page = (await call(wire, "Scan", TableName="large-1", Segment=0, TotalSegments=2)).json
    assert page["Count"] == 0
    assert "LastEvaluatedKey" not in page
    assert (await call(wire, "Scan", TableName="T")).code == "ResourceNotFoundException"
