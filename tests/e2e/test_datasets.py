"""Data that nobody made for these tests: nested public JSON, and exports as the service itself writes them."""

from __future__ import annotations

import base64
import gzip
import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import moto.ec2
import pytest

from ddbio import Capacity, Connection, ExportOptions, ImportOptions, export_table, import_table
from tests.kit.servers.aws import Key, Server

AWS_EXPORT = os.environ.get("DDBIO_AWS_EXPORT")
"""A full export made by the service: a folder with `AWSDynamoDB/<id>/data/*.json.gz` somewhere below it."""
FAST = Capacity(units=100_000)


def exact(text: bytes) -> Any:
    """JSON with its numbers by value and without loss."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def packed_items(folder: Path) -> list[Any]:
    files = sorted(folder.glob("*.gz"))
    return [exact(line) for file in files for line in gzip.decompress(file.read_bytes()).splitlines()]


def exported_lines(folder: Path) -> list[bytes]:
    return [line for file in sorted(folder.glob("*.json")) for line in file.read_bytes().splitlines()]


async def test_public_nested_data_goes_in_and_comes_out(
    dynalite: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the EC2 service says of its instance types: maps in lists in maps, numbers, booleans, about 4 KB each."""
    packed = Path(moto.ec2.__file__).parent / "resources" / "instance_types.json.gz"
    text = gzip.decompress(packed.read_bytes())
    kinds = exact(text)
    source = tmp_path / "kinds.jsonl"
    records = json.loads(text)
    source.write_text("".join(json.dumps({"kind": kind, **about}) + "\n" for kind, about in records.items()))
    monkeypatch.setenv("AWS_REGION", dynalite.region)
    table = dynalite.create_table(key=(("kind", "S"),))
    connection = Connection(endpoint_url=dynalite.url)

    come = await import_table(
        ImportOptions(table=table, source=str(source), connection=connection, capacity=FAST, state=str(tmp_path / "s"))
    )
    assert (come.items, come.rejected) == (len(kinds), 0)
    out = tmp_path / "out"
    gone = await export_table(ExportOptions(table=table, destination=str(out), connection=connection, capacity=FAST))
    assert gone.items == len(kinds)
    found = [exact(line) for line in exported_lines(out)]
    assert {item.pop("kind"): item for item in found} == kinds
    assert len(found) == len(kinds)


async def roundtrip_of_native_export(
    server: Server, folder: Path, key: Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[Any], list[Any]]:
    """Import the data folder of a service export, export the table again; the items of both."""
    monkeypatch.setenv("AWS_REGION", server.region)
    table = server.create_table(key=key)
    connection = Connection(endpoint_url=server.url)
    await import_table(
        ImportOptions(
            table=table,
            source=str(folder),
            connection=connection,
            capacity=FAST,
            strict=True,
            state=str(tmp_path / "s"),
        )
    )
    out = tmp_path / "out"
    await export_table(
        ExportOptions(table=table, destination=str(out), connection=connection, capacity=FAST, format="dynamodb-json")
    )
    return packed_items(folder), [exact(line) for line in exported_lines(out)]


def by_text(items: list[Any]) -> list[str]:
    return sorted(json.dumps(_sets_sorted(item), sort_keys=True, default=str) for item in items)


def _sets_sorted(value: Any) -> Any:
    """Sets come back in another order: sort them."""
    if isinstance(value, dict):
        return {
            name: sorted(inner) if name in ("SS", "NS", "BS") and isinstance(inner, list) else _sets_sorted(inner)
            for name, inner in value.items()
        }
    return [_sets_sorted(inner) for inner in value] if isinstance(value, list) else value


async def test_export_of_the_service_comes_in_unchanged(
    dynalite: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layout of the service's own export: gzip, several files, some of them empty, `{"Item": …}` a line."""
    data = tmp_path / "AWSDynamoDB" / "01700000000000-0123abcd" / "data"
    data.mkdir(parents=True)
    items = [
        {
            "Item": {
                "pk": {"S": f"customer#{number}"},
                "sk": {"N": str(number)},
                "tags": {"SS": ["ä", "b", ""]},
                "sizes": {"NS": ["1", "2.5", "-3"]},
                "raw": {"B": base64.b64encode(bytes(range(number, number + 9))).decode()},
                "set": {"BS": [base64.b64encode(b"x").decode(), base64.b64encode(b"yy").decode()]},
                "deep": {
                    "M": {"list": {"L": [{"NULL": True}, {"BOOL": False}, {"N": "12345678901234567890123456789"}]}}
                },
                "none": {"L": []},
            }
        }
        for number in range(30)
    ]
    for part in range(4):
        lines = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items[part * 10 : part * 10 + 10])
        (data / f"part{part}.json.gz").write_bytes(gzip.compress(lines.encode()))
    before, after = await roundtrip_of_native_export(dynalite, data, (("pk", "S"), ("sk", "N")), tmp_path, monkeypatch)
    assert len(after) == len(items)
    assert by_text(after) == by_text(before)


def data_folder() -> Path:
    [data] = Path(AWS_EXPORT or "").glob("**/data")
    return data


if AWS_EXPORT:

    async def test_real_export_of_the_service(
        dynalite: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = data_folder()
        key: Key = (("pk", "S"), ("sk", "S"))
        before, after = await roundtrip_of_native_export(dynalite, data, key, tmp_path, monkeypatch)
        assert len(after) == len(before) > 0
        assert by_text(after) == by_text(before)
