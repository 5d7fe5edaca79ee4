"""The rejects file: one JSON line for each record, durable, added to."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from ddbio.codec.model import Reason, Refused
from ddbio.errors import DestinationError
from ddbio.ledger.entries import Reject
from ddbio.ledger.rejects import MARK, RejectsFile, unwrap


def reject(raw: bytes | None, **fields: Any) -> Reject:
    given = {"source": "in.jsonl", "offset": 7, "length": 3, "line": 2, "reason": "not_json", "message": "No."}
    return Reject(**given | fields, raw=raw)  # type: ignore[arg-type]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        (b"{x}", {"raw": "{x}"}),
        ('{"ä": "☃\u2028"}'.encode(), {"raw": '{"ä": "☃\u2028"}'}),
        (b'{"a":"\xff"}', {"raw_base64": base64.b64encode(b'{"a":"\xff"}').decode()}),
        (b"\xed\xa0\x80", {"raw_base64": "7aCA"}),
        (None, {"raw": None}),
    ],
)
async def test_a_record_is_kept_as_it_was(raw: bytes | None, kept: dict[str, Any], tmp_path: Path) -> None:
    file = RejectsFile(tmp_path / "r.jsonl")
    await file.add([reject(raw)])
    assert lines(file.path) == [
        {
            "ddbio_reject": 1,
            "source": "in.jsonl",
            "offset": 7,
            "length": 3,
            "line": 2,
            "reason": "not_json",
            "message": "No.",
        }
        | kept
    ]


async def test_the_file_and_its_folder_come_with_the_first_reject(tmp_path: Path) -> None:
    file = RejectsFile(tmp_path / "a" / "b" / "r.jsonl")
    await file.add([])
    assert not file.path.exists()
    await file.add([reject(b"1"), reject(b"2", line=None)])
    assert [(line["raw"], line["line"]) for line in lines(file.path)] == [("1", 2), ("2", None)]


async def test_an_existing_file_is_added_to(tmp_path: Path) -> None:
    for raw in (b"1", b"2"):
        await RejectsFile(tmp_path / "r.jsonl").add([reject(raw)])
    assert [line["raw"] for line in lines(tmp_path / "r.jsonl")] == ["1", "2"]


async def test_a_file_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").touch()
    with pytest.raises(DestinationError, match=r"folder/r\.jsonl can't be written") as caught:
        await RejectsFile(tmp_path / "folder" / "r.jsonl").add([reject(b"secret contents")])
    assert "--rejects" in str(caught.value.hint)
    assert "secret" not in str(caught.value)


GOLDEN = (
    b'{"id":"a","n":1e2}',
    '{"id": "☃\u2028\\u0000\\\\"}'.encode(),
    b'{"id":"\xff"}',
    b"\xed\xa0\x80",
    b"NaN",
    b" ",
    b'{"ddbio_reject":1}',
    b'{"ddbio_reject": {"N": "1"}, "id": {"S": "an item with that attribute"}}',
)


@pytest.mark.parametrize("raw", GOLDEN)
async def test_the_file_gives_back_the_records_as_they_were(raw: bytes, tmp_path: Path) -> None:
    file = RejectsFile(tmp_path / "r.jsonl")
    await file.add([reject(raw)])
    line = file.path.read_bytes().rstrip(b"\n")
    assert line.startswith(MARK)
    assert unwrap(line) == raw
    assert unwrap(raw) == raw
    mended = json.dumps(json.loads(line)).encode()  # as another tool writes it, with spaces
    assert unwrap(mended) == raw


async def test_a_record_that_was_not_kept_is_to_be_read_from_its_source(tmp_path: Path) -> None:
    file = RejectsFile(tmp_path / "r.jsonl")
    await file.add([reject(None, offset=2**20, length=2_000_000)])
    line = file.path.read_bytes().rstrip(b"\n")
    again = unwrap(line)
    assert isinstance(again, Refused)
    assert again.reason == Reason.RAW_MISSING
    assert "in.jsonl, 2,000,000 bytes from byte 1,048,576 on" in again.message
    # Rejected once more, it is wrapped twice, and still says where it lies.
    await file.add([reject(line, source="r.jsonl", offset=0)])
    assert unwrap(file.path.read_bytes().splitlines()[1]) == again


@pytest.mark.parametrize(
    "line",
    [
        b'{"ddbio_reject":1,"source":"s"',
        b'{"ddbio_reject":2,"source":"s","offset":1,"length":1,"raw":"x"}',
        b'{"ddbio_reject":1,"raw":"x"}',
        b'{"ddbio_reject":1,"source":"s","offset":1,"length":1,"raw_base64":"?"}',
        b'{"id":"x","ddbio_reject":1,"source":"s","offset":1,"length":1,"raw":"x"}',
        b"",
    ],
)
def test_what_is_no_line_of_a_rejects_file_stays_as_it_is(line: bytes) -> None:
    assert unwrap(line) == line
