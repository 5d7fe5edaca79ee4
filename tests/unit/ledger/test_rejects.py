"""The rejects file: one JSON line for each record, durable, added to."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import resource
import signal
import stat
import threading
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from ddbio.errors import DestinationError, PreflightError
from ddbio.ledger.entries import Reject
from ddbio.ledger.rejects import MARK, RejectsFile, unwrap
from ddbio.model import Reason, Refused


def reject(raw: bytes | None, **fields: Any) -> Reject:
    given = {"source": "in.jsonl", "offset": 7, "length": 3, "line": 2, "reason": "not_json", "message": "No."}
    return Reject(**given | fields, raw=raw)  # type: ignore[arg-type]


async def add(path: Path, run: str, *rejects: Reject) -> int:
    """What one run adds, and the size that its journal keeps."""
    async with aclosing(RejectsFile(path, run)) as file:
        return await file.add(rejects)


async def cut(path: Path, run: str, size: int) -> None:
    """What a run does first when it resumes."""
    async with aclosing(RejectsFile(path, run)) as file:
        await file.cut(size)


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
    await add(tmp_path / "r.jsonl", "run", reject(raw))
    assert lines(tmp_path / "r.jsonl") == [
        {
            "ddbio_reject": 1,
            "run": "run",
            "source": "in.jsonl",
            "offset": 7,
            "length": 3,
            "line": 2,
            "reason": "not_json",
            "message": "No.",
        }
        | kept
    ]


async def test_rejects_are_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "r.jsonl"
    before = os.umask(0o022)
    try:
        await add(path, "run", reject(b"1"))
    finally:
        os.umask(before)
    made = [tmp_path / "a", tmp_path / "a" / "b", path]
    assert [stat.S_IMODE(path.stat().st_mode) for path in made] == [0o700, 0o700, 0o600]


async def test_the_file_and_its_folder_come_with_the_first_reject(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "r.jsonl"
    await add(path, "run")
    assert not path.exists()
    await add(path, "run", reject(b"1"), reject(b"2", line=None))
    assert [(line["raw"], line["line"]) for line in lines(path)] == [("1", 2), ("2", None)]


async def test_an_existing_file_is_added_to(tmp_path: Path) -> None:
    for raw in (b"1", b"2"):
        await add(tmp_path / "r.jsonl", "run", reject(raw))
    assert [line["raw"] for line in lines(tmp_path / "r.jsonl")] == ["1", "2"]


async def test_uncommitted_rejects_go_and_those_of_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    size = await add(path, "a", reject(b"1"))
    await add(path, "a", reject(b"2"), reject(b"3"))
    with path.open("ab") as file:
        file.write(b'{"ddbio_reject":1,"run":"a","source":"torn')
    theirs = await add(path, "b", reject(b"4"))
    await cut(path, "a", size)
    await cut(path, "b", theirs)
    await add(path, "a", reject(b"2"))
    told = [json.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
    assert [(line["run"], line["raw"]) for line in told] == [("a", "1"), ("b", "4"), ("a", "2")]


@pytest.mark.parametrize("torn", [b'{"dd', b'{"ddbio_reject":1,"run":"a","source":"in'])
async def test_uncommitted_rejects_leave_no_trace_at_the_files_end(torn: bytes, tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    await add(path, "b", reject(b"0"))
    size = await add(path, "a", reject(b"1"))
    before = path.read_bytes()
    await add(path, "a", reject(b"2"))
    path.write_bytes(path.read_bytes() + torn)
    await cut(path, "a", size)
    assert path.read_bytes() == before


async def test_a_job_does_not_count_the_rejects_of_other_jobs(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    await add(path, "b", reject(b"0"))
    size = await add(path, "a")
    await add(path, "a", reject(b"1"))
    await cut(path, "a", size)
    assert [line["raw"] for line in lines(path)] == ["0"]


async def test_a_job_without_rejects_leaves_the_file_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    before = b'{\n  "no": "line of a job"\n}\n\n{\n}\n\n'
    path.write_bytes(before)
    await cut(path, "a", await add(path, "a"))
    assert path.read_bytes() == before


async def test_a_file_that_another_job_writes_to_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    async with aclosing(RejectsFile(path, "a")) as first, aclosing(RejectsFile(path, "b")) as second:
        await first.add([reject(b"1")])
        with pytest.raises(PreflightError, match=r"Another job is writing to the rejects file .*r\.jsonl") as caught:
            await second.open()
        assert "--rejects" in (caught.value.hint or "")
        with pytest.raises(DestinationError, match="Another job is writing") as refused:
            await second.add([reject(b"2")])
        assert "resume" in (refused.value.hint or "")
        await first.aclose()
        await second.add([reject(b"2")])
    assert [line["raw"] for line in lines(path)] == ["1", "2"]


async def test_a_job_holds_its_file_before_its_first_reject(tmp_path: Path) -> None:
    path = tmp_path / "state" / "r.jsonl"
    async with aclosing(RejectsFile(path, "a")) as first, aclosing(RejectsFile(path, "b")) as second:
        await first.open()
        with pytest.raises(PreflightError, match="Another job is writing"):
            await second.open()
        await first.add([reject(b"1")])
    assert [line["raw"] for line in lines(path)] == ["1"]


async def test_a_file_without_rejects_goes_unless_it_was_there(tmp_path: Path) -> None:
    path = tmp_path / "state" / "r.jsonl"
    async with aclosing(RejectsFile(path, "a")) as file:
        await file.open()
        assert path.exists()
    assert not path.parent.exists()
    path.parent.mkdir()
    path.touch()
    async with aclosing(RejectsFile(path, "a")) as file:
        await file.open()
    assert path.exists()


async def test_a_file_removed_before_it_is_locked_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an empty file is when the job that made it ends."""
    path, flock, removed = tmp_path / "r.jsonl", fcntl.flock, threading.Event()

    def remove_first(file: Any, how: int) -> None:
        if not removed.is_set():
            removed.set()
            path.unlink()
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    await add(path, "a", reject(b"1"))
    assert [line["raw"] for line in lines(path)] == ["1"]


async def test_a_full_disk_is_reported_and_the_file_can_be_closed(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        async with aclosing(RejectsFile(tmp_path / "r.jsonl", "a")) as file:
            await file.add([reject(b"1")])
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
            with pytest.raises(DestinationError, match=r"r\.jsonl can't be written"):
                await file.add([reject(b"2")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


async def test_a_file_that_was_moved_away_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    async with aclosing(RejectsFile(path, "a")) as file:
        await file.add([reject(b"1")])
        path.rename(tmp_path / "moved.jsonl")
        await file.add([reject(b"2")])
    assert [line["raw"] for line in lines(path)] == ["2"]


async def test_a_file_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").touch()
    with pytest.raises(DestinationError, match=r"folder/r\.jsonl can't be written") as caught:
        await RejectsFile(tmp_path / "folder" / "r.jsonl", "run").add([reject(b"secret contents")])
    assert "and resume" in str(caught.value.hint)
    assert "secret" not in str(caught.value)


async def test_another_place_is_advised_only_before_the_job_has_begun(tmp_path: Path) -> None:
    """A job that is resumed with another rejects file is refused."""
    (tmp_path / "folder").touch()
    file = RejectsFile(tmp_path / "folder" / "r.jsonl", "run")
    with pytest.raises(PreflightError, match="Give another location with --rejects"):
        await file.open()
    with pytest.raises(DestinationError, match="can be written again, and resume"):
        await file.add([reject(b"1")])


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
    path = tmp_path / "r.jsonl"
    await add(path, "run", reject(raw))
    line = path.read_bytes().rstrip(b"\n")
    assert line.startswith(MARK)
    assert unwrap(line) == raw
    assert unwrap(raw) == raw
    mended = json.dumps(json.loads(line)).encode()  # as another tool writes it, with spaces
    assert unwrap(mended) == raw


async def test_a_record_that_was_not_kept_is_read_from_its_source(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    await add(path, "run", reject(None, offset=2**20, length=2_000_000))
    line = path.read_bytes().rstrip(b"\n")
    again = unwrap(line)
    assert isinstance(again, Refused)
    assert again.reason == Reason.RAW_MISSING
    assert "in.jsonl, 2,000,000 bytes from byte 1,048,576 on" in again.message
    # Rejected once more, it is wrapped twice, and still says where it lies.
    await add(path, "run", reject(line, source="r.jsonl", offset=0))
    assert unwrap(path.read_bytes().splitlines()[1]) == again


@pytest.mark.parametrize(
    "line",
    [
        b'{"ddbio_reject":1,"source":"s"',
        b'{"ddbio_reject":2,"source":"s","offset":1,"length":1,"raw":"x"}',
        b'{"ddbio_reject":1,"raw":"x"}',
        b'{"ddbio_reject":1,"x":' + b"[" * 20_000,
        b'{"ddbio_reject":1,"source":"s","offset":1,"length":1,"raw_base64":"?"}',
        b'{"id":"x","ddbio_reject":1,"source":"s","offset":1,"length":1,"raw":"x"}',
        b"",
    ],
)
def test_what_is_no_line_of_a_rejects_file_stays_as_it_is(line: bytes) -> None:
    assert unwrap(line) == line
