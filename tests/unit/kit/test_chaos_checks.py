"""The suite's own eyes: each kind of damage to a result is seen."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kit.chaos.exporting import MANIFEST, check_files, plan_export
from tests.kit.chaos.importing import Records, check_state
from tests.kit.chaos.plans import judge
from tests.kit.chaos.processes import ChaosError
from tests.kit.chaos.values import in_form
from tests.kit.faults.account import FaultAccount, PageId, Served, Work

PLAN = plan_export(1)
ITEMS: list[dict[str, Any]] = [
    {"pk": {"S": f"k{number}"}, "price": {"N": f"{number}.50"}, "tags": {"SS": ["a", "b"]}, "blob": {"B": b"\x00"}}
    for number in range(4)
]
LINES = {
    "jsonl": b'{"pk":"k%d","price":%d.5,"tags":["a","b"],"blob":"AA=="}\n',
    "dynamodb-json": b'{"Item":{"pk":{"S":"k%d"},"price":{"N":"%d.5"},"tags":{"SS":["b","a"]},"blob":{"B":"AA=="}}}\n',
}
Files = dict[str, bytes]
Damage = Callable[[Files, dict[str, Any]], object]


def export() -> tuple[Files, dict[str, Any]]:
    """Two good files of `ITEMS`, and the manifest that lists them."""
    line = LINES[PLAN.form]
    halves = [b"".join(line % (number, number) for number in numbers) for numbers in ((0, 1), (2, 3))]
    files = {"a.json": halves[0], "b.json.gz": gzip.compress(halves[1])}
    listed = [
        {"name": name, "items": 2, "read": 2, "bytes": len(data), "crc32": zlib.crc32(data), "sealed": True}
        for name, data in files.items()
    ]
    return files, {"files": listed, "totals": {"items": 4}}


def check(files: Files, manifest: dict[str, Any]) -> None:
    check_files(PLAN, {**files, MANIFEST: json.dumps(manifest).encode()}, in_form(ITEMS, PLAN.form))


def test_what_is_good_is_good() -> None:
    check(*export())


def twice(files: Files, manifest: dict[str, Any]) -> None:
    """An item that is in two files, which the manifest knows well."""
    files["a.json"] += files["a.json"].splitlines(keepends=True)[0]
    listed = {"items": 3, "read": 3, "bytes": len(files["a.json"]), "crc32": zlib.crc32(files["a.json"])}
    manifest["files"][0].update(listed)


def other(files: Files, manifest: dict[str, Any]) -> None:
    """One value that is another, which the manifest knows well."""
    files["a.json"] = files["a.json"].replace(b"1.5", b"1.7")
    manifest["files"][0]["crc32"] = zlib.crc32(files["a.json"])


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (twice, "too much"),
        (other, "1 items missing.*1 items too much"),
        (lambda files, _: files.pop("a.json"), "differ by .*a.json"),
        (lambda files, _: files.update({"c.json.run.part": b""}), "differ by .*part"),
        (lambda files, _: files.update({"_ddbio/journal/00000001.json": b""}), "differ by .*journal"),
        (lambda files, _: files.update({"_ddbio/lock": b""}), "differ by .*lock"),
        (lambda _, manifest: manifest["files"][0].update(crc32=0), "wrong about a.json.*crc32"),
        (lambda _, manifest: manifest["files"][0].update(items=1), "wrong about a.json.*items"),
        (lambda _, manifest: manifest["files"][0].update(sealed=False), "wrong about a.json.*sealed"),
        (lambda _, manifest: manifest["totals"].update(items=5), "tells 5 items"),
    ],
)
def test_what_is_wrong_with_an_export_is_seen(damage: Damage, told: str) -> None:
    files, manifest = export()
    damage(files, manifest)
    with pytest.raises(ChaosError, match=told):
        check(files, manifest)


@pytest.mark.parametrize(
    ("rejects", "items", "more", "told"),
    [
        (["x", "y"], 1, [], ""),
        (["x"], 1, [], "1 items missing, such as y"),
        (["x", "y", "y"], 1, [], "1 items too much, such as y"),
        (["x", "y"], 2, [], "tells 2 items and 2 rejects of 3"),
        (["x", "y"], 1, ["_ddbio/lock"], "too much in the state folder"),
    ],
)
def test_what_is_wrong_with_the_state_of_an_import_is_seen(
    tmp_path: Path, rejects: list[str], items: int, more: list[str], told: str
) -> None:
    manifest = tmp_path / MANIFEST
    manifest.parent.mkdir()
    manifest.write_text(json.dumps({"totals": {"items": items, "rejected": 2}}))
    (tmp_path / "rejects-1.jsonl").write_text("".join(json.dumps({"raw": raw}) + "\n" for raw in rejects))
    for name in more:
        (tmp_path / name).touch()
    records = Records([["x", "good", "y"]], [], ["x", "y"])
    if told:
        with pytest.raises(ChaosError, match=told):
            check_state(tmp_path, records)
    else:
        check_state(tmp_path, records)


def test_what_was_served_too_often_is_seen() -> None:
    account = FaultAccount()
    for number in range(3):
        account.note(Work("read", 1.0, 1, page=PageId("T", 0, 1, "")), told=True)
        account.note(Work("write", 1.0, 1, puts=(b"same",)), told=True)
        if number == 1:
            judge(account, Served(1, 1), 1)
    with pytest.raises(ChaosError, match=r"was served 3 times.*acknowledged 3 times"):
        judge(account, Served(1, 1), 1)
