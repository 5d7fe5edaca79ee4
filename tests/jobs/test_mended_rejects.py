"""A rejects file as a source: what was mended goes in, what was not is told again, in either codec."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from ddbio import codec, import_table
from ddbio.codec import reference
from ddbio.fleet import engine
from ddbio.ledger.manifest import read_manifest
from ddbio.options import Capacity, Connection, ImportOptions
from ddbio.pipeline.importing import batcher, encoding, watermark, writing
from ddbio.storage.base import MANIFEST
from tests.conftest import StartCounting
from tests.kit.servers.tables import Table

GOOD = b'{"pk": "good", "tags": ["a"]}'
BAD = (
    b'{"pk": "nan", "v": NaN, "tags": ["b"]}',
    b'{"pk": {"S": "typed"}, "v": {"N": "1e400"}}',
    b'{"pk": "\xff"}',
    b'{"v": 1}',
    b'{"pk": "long", "v": "' + b"x" * (1024 * 1024) + b'"}',
)
HINTS = {"tags": "SS"}
ENTRY_FUNCTIONS = (
    (batcher, "settle"),
    (batcher, "take_off"),
    (batcher, "weigh"),
    (watermark, "count_settled"),
    (writing, "weigh"),
)
"""What reads the entries that the encoder makes: of the same codec as that."""


@pytest.mark.parametrize("module", [codec, reference], ids=["chosen", "reference"])
async def test_mended_records_go_in_and_the_others_are_told_again(
    counting: StartCounting, tmp_path: Path, module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "RecordEncoder", module.RecordEncoder)
    monkeypatch.setattr(encoding, "EncodedRecord", module.EncodedRecord)
    for user, name in ENTRY_FUNCTIONS:
        monkeypatch.setattr(user, name, getattr(module, name))
    server = await counting(Table(mode="stored", key=(("pk", "S"),)))
    source, state = tmp_path / "in.jsonl", tmp_path / "state"
    source.write_bytes(b"\n".join([GOOD, *BAD]))
    hints = tmp_path / MANIFEST
    hints.parent.mkdir()
    hints.write_text(json.dumps({"ddbio_manifest": 1, "type_hints": HINTS}))
    options = ImportOptions(
        table="T",
        source=str(source),
        connection=Connection(region="us-east-1", dynamodb_endpoint_url=server.url),
        capacity=Capacity(units=1_000_000),
        state=str(state),
    )
    first = await import_table(options)
    assert (first.items, first.rejected) == (1, 5)
    assert first.rejects is not None
    assert read_manifest((state / MANIFEST).read_bytes(), "").type_hints == HINTS

    lines = [json.loads(line) for line in Path(first.rejects).read_text().splitlines()]
    lines[0]["raw"] = lines[0]["raw"].replace("NaN", "null")
    lines[1]["raw"] = lines[1]["raw"].replace("1e400", "1e40")
    mended = state / "mended.jsonl"
    mended.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"pk": "a line of its own"}\n')
    second = await import_table(replace(options, source=str(mended), state=str(tmp_path / "second")))
    assert (second.items, second.rejected) == (3, 3)

    stored = {item["pk"]["S"]: item for item in server.stored().items}
    assert stored.keys() == {"good", "nan", "typed", "a line of its own"}
    assert stored["nan"] == {"pk": {"S": "nan"}, "v": {"NULL": True}, "tags": {"SS": ["b"]}}
    assert float(stored["typed"]["v"]["N"]) == 1e40
    assert second.rejects is not None
    again = [json.loads(line) for line in Path(second.rejects).read_text().splitlines()]
    assert [(line["reason"], line["line"], line["source"]) for line in again] == [
        ("invalid_utf8", 3, str(mended)),
        ("key_missing", 4, str(mended)),
        ("raw_missing", 5, str(mended)),
    ]
    offsets = [line["offset"] for line in again]
    assert all(mended.read_bytes()[offset:].startswith(b'{"ddbio_reject"') for offset in offsets)
    assert again[1]["raw"] == BAD[3].decode()
    assert f"{source}, {len(BAD[4]):,} bytes from byte {source.read_bytes().index(BAD[4]):,} on" in again[2]["message"]
