"""Imports of many files, on virtual time: full batches, few requests, every record once."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddbio.errors import JobFailedError, SourceError
from ddbio.fleet.tuning import Tuning
from ddbio.jobs import planning
from ddbio.ledger.positions import AtOffset
from ddbio.storage.local.source import LocalSource
from ddbio.wire.transport import Reply
from tests.kit.fakes import FakeTable, error_reply, reply, run_virtual
from tests.kit.fleets import Fleet, import_job, run
from tests.kit.marks import examples, few


def importing(folder: Path, workers: int = 1, budget: float = 1e6, concurrency: int | None = None) -> Fleet:
    """An import of the files in `folder`."""

    async def find() -> Any:
        return await LocalSource(str(folder), executor=None).files()  # type: ignore[arg-type]

    splits = planning.spans([run_virtual(find())], workers)
    job = import_job(folder, concurrency=concurrency)
    rejects = folder.with_name(f"{folder.name}.rejects")
    return Fleet(job, FakeTable(), splits, budget, workers, max_rejects=1_000, rejects=rejects)


def write_files(folder: Path, files: list[list[str]]) -> Path:
    folder.mkdir()
    for number, lines in enumerate(files):
        (folder / f"{number:04}.json").write_text("".join(f"{line}\n" for line in lines))
    return folder


def line(key: object, version: object = 0) -> str:
    return json.dumps({"pk": str(key), "version": version})


@pytest.mark.parametrize(("workers", "concurrency"), few([(1, None), (2, None), (1, 1), (2, 4)], 1))
def test_files_of_one_item_fill_batches(workers: int, concurrency: int | None, tmp_path: Path) -> None:
    fleet = importing(write_files(tmp_path / "in", [[line(number)] for number in range(2_000)]), workers)
    seconds = run(fleet)
    fleet.ledger.check()
    assert len(fleet.table.items) == fleet.ledger.written == 2_000
    assert 80 <= len(fleet.table.batches) <= 120
    assert seconds < 3


def test_what_is_leased_ahead_does_not_take_the_work_of_others(tmp_path: Path) -> None:
    """Large files are leased one for each lane."""
    big = [line(number, "x" * 1_000) for number in range(1_200)]
    fleet = importing(write_files(tmp_path / "in", [big] * 40), 2)
    run(fleet)
    held = [len(grant.leases) for _, _, grant in fleet.grants]
    assert max(held) <= 16
    assert len(fleet.table.items) == 1_200


def test_a_broken_file_fails_the_job_after_its_readable_records(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "in", [[line(number)] for number in range(30)])
    whole = gzip.compress("".join(f"{line(f'zip {number}')}\n" for number in range(10)).encode())
    (folder / "broken.json.gz").write_bytes(whole[:-4])
    fleet = importing(folder)
    run(fleet)
    assert isinstance(fleet.coordinator.failure, SourceError)
    assert {f"zip {number}" for number in range(10)} <= fleet.table.items.keys()
    (number,) = [split.id for split in fleet.splits if split.file.endswith(".gz")]
    assert not fleet.ledger.split(number).done
    done = "".join(f"{line(f'zip {n}')}\n" for n in range(10))
    assert fleet.ledger.split(number).position == AtOffset(len(done) - 1)


@pytest.mark.parametrize("whole", [0, 3])
def test_several_files_that_are_broken_fail_the_job_like_one(whole: int, tmp_path: Path) -> None:
    folder = write_files(tmp_path / "in", [[line(number)] for number in range(whole)])
    for number in range(60):
        packed = gzip.compress(f"{line(f'zip {number}')}\n".encode())
        (folder / f"broken-{number}.json.gz").write_bytes(packed[:-4])
    fleet = importing(folder)
    run(fleet)
    assert isinstance(fleet.coordinator.failure, SourceError)


def test_a_failed_batch_fails_the_job_whoever_owns_its_records(tmp_path: Path) -> None:
    fleet = importing(write_files(tmp_path / "in", [[line(number)] for number in range(200)]), 2)
    fleet.table.hook = lambda operation, payload: error_reply("AccessDeniedException", "no")
    assert run(fleet) < 2
    assert type(fleet.coordinator.failure) is JobFailedError
    assert "RefusedError: " in fleet.coordinator.failure.__notes__[0]
    assert fleet.ledger.read == 0


def test_small_files_of_hot_keys_do_not_hold_the_others_back(tmp_path: Path) -> None:
    fleet = importing(write_files(tmp_path / "in", [[line(number)] for number in range(2_000)]), budget=1_000)
    fleet.table.hook = leave(fleet, lambda key: key.endswith("77") and asyncio.get_running_loop().time() < 30)
    seen: list[int] = []
    fleet.on_report = lambda report: seen.append(len(fleet.table.items))
    run(fleet)
    fleet.ledger.check()
    at_20 = [count for (at, _), count in zip(fleet.reports, seen, strict=True) if at < 20][-1]
    assert at_20 == 1_980
    assert len(fleet.table.items) == 2_000


def leave(fleet: Fleet, which: Callable[[str], bool]) -> Callable[[str, dict[str, Any]], Reply | None]:
    """Leave those with such keys unprocessed."""

    def hook(operation: str, payload: dict[str, Any]) -> Reply | None:
        ((name, writes),) = payload["RequestItems"].items()
        left = [one for one in writes if which(one["PutRequest"]["Item"]["pk"]["S"])]
        taken = [one for one in writes if one not in left]
        answer = json.loads(fleet.table.put(taken).body) if taken else {}
        return reply({**answer, "UnprocessedItems": {name: left}}) if left else reply(answer)

    return hook


FILES = st.lists(
    st.lists(st.sampled_from([*range(12), *range(100, 160), "bad", "refused"]), max_size=40), min_size=1, max_size=40
)


@examples(60)
@given(
    files=FILES,
    workers=st.integers(1, 3),
    seed=st.integers(0, 1_000),
    kills=st.lists(st.floats(0.01, 1), max_size=3),
    concurrency=st.sampled_from([None, 1, 2]),
)
def test_each_record_is_written_or_rejected_once_last_line_wins(
    files: list[list[int | str]],
    workers: int,
    seed: int,
    kills: list[float],
    concurrency: int | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    rng = random.Random(seed)
    lines = [[record(key, (file, place)) for place, key in enumerate(keys)] for file, keys in enumerate(files)]
    folder = write_files(tmp_path_factory.mktemp("any") / "in", lines)
    fleet = importing(folder, workers, budget=300, concurrency=concurrency)
    fleet.table = table = Judging(rng)
    fleet.tuning = Tuning(max_deaths=100)

    async def main() -> None:
        running = asyncio.create_task(fleet.run())
        for pause in kills:
            await asyncio.sleep(pause)
            if not running.done():
                fleet.kill(rng.randrange(workers))
        await running

    run_virtual(main())
    fleet.ledger.check()
    assert fleet.coordinator.leases.done
    check(files, fleet, table, again=bool(kills))


def record(key: int | str, version: tuple[int, int]) -> str:
    return "{" if key == "bad" else line("refused" if key == "refused" else key, list(version))


class Judging(FakeTable):
    """Refuses each batch with a record that is to be refused, and leaves some; finds a key that is out twice."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(latency=0.05)
        self.rng = rng
        self.hook = self.judge
        self.puts: list[tuple[int, int]] = []

    def judge(self, operation: str, payload: dict[str, Any]) -> Reply:
        ((name, writes),) = payload["RequestItems"].items()
        items = [one["PutRequest"]["Item"] for one in writes]
        keys = [item["pk"]["S"] for item in items]
        assert len(set(keys)) == len(keys)
        if "refused" in keys:
            return error_reply("ValidationException", "One or more parameter values were invalid")
        left = [one for one in writes if self.rng.random() < 0.1]
        taken = [one for one in writes if one not in left]
        answer = json.loads(self.put(taken).body) if taken else {}
        return reply({**answer, "UnprocessedItems": {name: left}} if left else answer)

    def put(self, writes: Any) -> Reply:
        self.puts += [version(one["PutRequest"]["Item"]) for one in writes]
        return super().put(writes)


def version(item: dict[str, Any]) -> tuple[int, int]:
    file, place = item["version"]["L"]
    return int(file["N"]), int(place["N"])


def check(files: list[list[int | str]], fleet: Fleet, table: Judging, *, again: bool) -> None:
    good = {(file, place) for file, keys in enumerate(files) for place, key in enumerate(keys) if isinstance(key, int)}
    assert set(table.puts) == good
    assert again or len(table.puts) == len(good)
    assert fleet.ledger.written == len(good)
    assert fleet.ledger.rejected == sum(map(len, files)) - len(good)
    rejected = fleet.rejects.read_text().splitlines() if fleet.rejects and fleet.rejects.exists() else []
    told = [(one["source"], one["offset"]) for one in map(json.loads, rejected)]
    assert len(set(told)) == len(told) == fleet.ledger.rejected
    for key, item in table.items.items():
        file, place = version(item)
        assert place == max(at for at, each in enumerate(files[file]) if str(each) == key)
