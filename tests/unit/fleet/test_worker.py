"""Whole fleets on virtual time: what a job does to the table, the budget, the files, and to itself when it fails."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ddbio.errors import (
    DestinationError,
    JobFailedError,
    LedgerError,
    SourceError,
    TooManyRejectsError,
)
from ddbio.fleet.protocol import Grant, Report, Welcome
from ddbio.fleet.tuning import Tuning
from ddbio.fleet.worker import Worker
from ddbio.jobs import planning
from ddbio.ledger.entries import Split
from ddbio.options import RETRY_SECONDS
from ddbio.pipeline.importing import encoding, span
from ddbio.pipeline.tuning import Tuning as PipelineTuning
from ddbio.storage.local.source import LocalSource
from ddbio.wire.signing import Credentials
from ddbio.wire.transport import Reply
from tests.kit.credentials import FakeCredentials
from tests.kit.fakes import FakeTable, MemorySink, error_reply, reply, run_virtual
from tests.kit.fleets import CREDENTIALS, Fleet, export_job, import_job, run
from tests.kit.marks import few

PAGE = 128.0


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(11)  # the jitter of backoff


def exporting(pages: list[list[float]], budget: float = 1e6, workers: int = 1, **options: Any) -> Fleet:
    table = FakeTable(pages)
    job = export_job(len(pages), **{"concurrency": 4, **options})
    return Fleet(job, table, planning.segments(len(pages)), budget, workers)


def importing(source: Path, lines: list[str], span: int, budget: float = 1e6, workers: int = 1) -> Fleet:
    """An import of `lines`, in spans of `span` bytes."""
    source.write_text("".join(f"{line}\n" for line in lines))

    async def find() -> list[Split]:
        (file,) = await LocalSource(str(source), executor=None).files()  # type: ignore[arg-type]
        size = file.size or 0
        bounds = [(start, start + span if start + span < size else None) for start in range(0, size, span)]
        return [Split(number, file.name, start, end, size, file.tag) for number, (start, end) in enumerate(bounds)]

    job = import_job(source, concurrency=4)
    rejects = source.with_name("rejects.jsonl")
    return Fleet(job, FakeTable(), run_virtual(find()), budget, workers, max_rejects=1_000, rejects=rejects)


def put_lines(count: int) -> list[str]:
    return [json.dumps({"pk": f"key {number}", "n": number}) for number in range(count)]


def exported(sink: MemorySink) -> list[str]:
    return [json.loads(line)["pk"] for data in sink.sealed.values() for line in data.splitlines()]


def check_budget(fleet: Fleet, kind: Any, request: float) -> None:
    for window in (1.0, 2.0, 5.0):
        most = 1.02 * fleet.budget * window + fleet.workers * request
        assert fleet.table.account.max_window(kind, window) <= most


# A job that goes well


@pytest.mark.parametrize(
    ("workers", "budget", "concurrency"),
    few([(1, 1_000, 4), (1, 20_000, 8), (2, 2_000, 4), (4, 1_000, 1), (7, 1_000, 4), (8, 8_000, 4)], 1, 4),
)
def test_an_export_uses_the_budget_and_no_more(workers: int, budget: float, concurrency: int) -> None:
    rng = random.Random(workers)
    pages = [[PAGE] * rng.randint(3, 7) + [rng.random() * PAGE] for _ in range(64)]
    fleet = exporting(pages, budget, workers, concurrency=concurrency)
    run(fleet)
    fleet.ledger.check()
    assert fleet.coordinator.leases.done
    assert fleet.coordinator.failure is None
    assert Counter(exported(fleet.sink)) == Counter(fleet.table.all_items())
    check_budget(fleet, "read", PAGE)
    events = fleet.table.account.events["read"]
    busy_until = max(at for at, _, grant in fleet.grants if grant.leases)
    served = sum(event.units for event in events if event.at < busy_until)
    assert served >= 0.97 * budget * (busy_until - events[0].at)


@pytest.mark.parametrize(("workers", "budget"), [(1, 500), (2, 500), (4, 2_000)])
def test_an_import_uses_the_budget_and_no_more(workers: int, budget: float, tmp_path: Path) -> None:
    lines = put_lines(6_000)
    fleet = importing(tmp_path / "in.jsonl", lines, 4_000, budget, workers)
    run(fleet)
    fleet.ledger.check()
    assert fleet.coordinator.leases.done
    assert fleet.coordinator.failure is None
    assert len(fleet.table.items) == fleet.ledger.written == len(lines)
    assert sum(map(len, fleet.table.batches)) == len(lines)
    check_budget(fleet, "write", 25)
    events = fleet.table.account.events["write"]
    busy_until = max(at for at, _, grant in fleet.grants if grant.leases)
    served = sum(event.units for event in events if event.at < busy_until)
    assert served >= 0.97 * budget * (busy_until - events[0].at)


def test_the_share_of_a_dry_worker_is_taken_within_two_seconds() -> None:
    fleet = exporting([[PAGE] * 6, [PAGE] * 6, [PAGE] * 60], 1_200, 3, concurrency=1)
    run(fleet)
    last_short = max(at for at, report in fleet.reports for commit in report.commits if commit.done and at < 6)
    whole = min(at for at, _, grant in fleet.grants if grant.rate == pytest.approx(1_200))
    assert whole - last_short < 2
    served = [event for event in fleet.table.account.events["read"] if event.at >= whole]
    assert sum(event.units for event in served[:-1]) >= 0.97 * 1_200 * (served[-1].at - served[0].at)


def test_a_worker_that_cannot_use_its_share_leaves_it_to_others() -> None:
    """Segment 0 answers slowly, so its worker spends 128 units a second of the 1,000 that it could have."""

    class Slow(FakeTable):
        async def __call__(self, url: str, headers: Any, body: bytes) -> Reply:
            if json.loads(body)["Segment"] == 0:
                await asyncio.sleep(1.0)
            return await super().__call__(url, headers, body)

    fleet = exporting([[PAGE] * 30, [PAGE] * 400], 2_000, 2, concurrency=1)
    fleet.table = Slow(fleet.table.pages)
    run(fleet)
    check_budget(fleet, "read", PAGE)
    for begin in (2, 4, 9):
        assert units_per_second(fleet, "read", begin, 20) >= 0.97 * 2_000


def test_a_burst_does_not_hide_what_a_worker_uses() -> None:
    """One worker can use 1,400 units a second, and the other, whose segment answers slowly, half of that."""

    class Slow(FakeTable):
        async def __call__(self, url: str, headers: Any, body: bytes) -> Reply:
            if json.loads(body)["Segment"] == 0:
                await asyncio.sleep(self.latency)
            return await super().__call__(url, headers, body)

    fleet = exporting([[16.0] * 1_200, [16.0] * 2_200], 2_000, 2, concurrency=1, burst_seconds=5.0)
    fleet.table = Slow(fleet.table.pages, latency=16 / 1_400)
    run(fleet)
    assert units_per_second(fleet, "read", 2, 24) >= 0.97 * 2_000


@pytest.mark.parametrize(
    ("workers", "part", "page", "lanes"),
    few([(4, 0.1, 16.0, 8), (8, 0.05, 16.0, 8), (4, 0.1, 16.0, 1), (4, 0.1, PAGE, 4), (4, 0.2, 16.0, 8)], 1, 2),
)
def test_where_latencies_are_uneven_the_budget_is_still_used(
    workers: int, part: float, page: float, lanes: int
) -> None:
    """All workers but one could use this part of the budget each, if they never waited; replies take random times."""
    budget, rng = 2_000.0, random.Random(3)
    fleet = exporting([[page] * 6_000] * (workers * lanes), budget, workers, concurrency=lanes)

    class Uneven(FakeTable):
        async def __call__(self, url: str, headers: Any, body: bytes) -> Reply:
            segment = json.loads(body)["Segment"]
            if segment not in {
                lease.split.id for _, worker, grant in fleet.grants if not worker for lease in grant.leases
            }:
                await asyncio.sleep(rng.expovariate(part * budget / page / lanes))
            return await super().__call__(url, headers, body)

    fleet.table = Uneven(fleet.table.pages, latency=0.001)

    async def main() -> None:
        working = asyncio.create_task(fleet.run())
        await asyncio.sleep(40)
        fleet.coordinator.abort()
        await working

    run_virtual(main())
    assert units_per_second(fleet, "read", 8, 40) >= 0.97 * budget


def hot_range(operation: str) -> Reply:
    """A request is refused for the sake of its keys only."""
    kind = "TableReadKeyRange" if operation == "Scan" else "TableWriteKeyRange"
    reasons = [{"reason": f"{kind}ThroughputExceeded", "resource": ""}]
    return reply({"__type": "x#ProvisionedThroughputExceededException", "ThrottlingReasons": reasons}, 400)


def units_per_second(fleet: Fleet, kind: Any, begin: float, end: float) -> float:
    return sum(event.units for event in fleet.table.account.events[kind] if begin <= event.at < end) / (end - begin)


def test_a_hot_segment_does_not_hold_the_others_back() -> None:
    fleet, hot = exporting([[16.0] * 60] * 40, 1_000, concurrency=None), []

    def refuse(operation: str, payload: dict[str, Any]) -> Reply | None:
        hot.append(payload["Segment"])
        late = asyncio.get_running_loop().time() > 20
        return None if late or payload["Segment"] != hot[0] else hot_range(operation)

    fleet.table.hook = refuse
    run(fleet)
    fleet.ledger.check()
    assert units_per_second(fleet, "read", 1, 20) >= 970


def test_a_job_goes_on_while_one_segment_is_throttled_for_long() -> None:
    fleet, hot = exporting([[16.0] * 60] * 20, 16), []

    def refuse(operation: str, payload: dict[str, Any]) -> Reply | None:
        hot.append(payload["Segment"])
        early = asyncio.get_running_loop().time() < RETRY_SECONDS + 100
        return hot_range(operation) if early and payload["Segment"] == hot[0] else None

    fleet.table.hook = refuse
    assert run(fleet) > RETRY_SECONDS + 100
    assert fleet.coordinator.failure is None
    assert fleet.coordinator.leases.done


def leave(fleet: Fleet, operation: str, payload: dict[str, Any], hot: list[dict[str, Any]]) -> Reply:
    """Take all of a batch but what is hot, or refuse it where that is all."""
    ((name, writes),) = payload["RequestItems"].items()
    if len(hot) == len(writes):
        return hot_range(operation)
    answer = json.loads(fleet.table.put([one for one in writes if one not in hot]).body)
    return reply({**answer, "UnprocessedItems": {name: hot}})


def test_hot_keys_do_not_hold_the_others_back(tmp_path: Path) -> None:
    fleet = importing(tmp_path / "in.jsonl", put_lines(20_000), 100_000, 1_000, 2)

    def keep_hot(operation: str, payload: dict[str, Any]) -> Reply | None:
        ((_, writes),) = payload["RequestItems"].items()
        hot = [one for one in writes if one["PutRequest"]["Item"]["pk"]["S"].endswith("77")]
        if not hot or asyncio.get_running_loop().time() > 15:
            return None
        return leave(fleet, operation, payload, hot)

    fleet.table.hook = keep_hot
    run(fleet)
    fleet.ledger.check()
    assert len(fleet.table.items) == 20_000
    assert units_per_second(fleet, "write", 1, 15) >= 970


@pytest.mark.parametrize("every", [100, 300])
def test_stray_throttles_cost_no_throughput(every: int) -> None:
    fleet = exporting([[PAGE] * 60] * 40, 20_000, concurrency=None)
    fleet.table.latency = 0.03
    stray = itertools.cycle([False] * (every - 1) + [True])
    throttled = error_reply("ProvisionedThroughputExceededException")
    fleet.table.hook = lambda operation, payload: throttled if next(stray) else None
    run(fleet)
    assert units_per_second(fleet, "read", 2, 12) >= 19_400


def test_a_page_requested_during_a_pause_is_limited_too() -> None:
    fleet = exporting([[1.0] * 5] * 8, 5)
    limits = []

    def note(operation: str, payload: dict[str, Any]) -> None:
        limits.append(payload.get("Limit"))

    def pause_now_and_then(report: Report) -> None:
        fleet.coordinator.budget.paused = report.number % 8 >= 4

    fleet.table.hook, fleet.on_report = note, pause_now_and_then
    run(fleet)
    assert len(limits) == 40
    assert None not in limits


def test_reports_come_every_twentieth_to_half_second() -> None:
    fleet = exporting([[1.0] * 3] * 300, 200, 2)
    run(fleet)
    for number in range(2):
        times = [at for at, report in fleet.reports if report.worker == number and not report.stopped]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert min(gaps) >= 0.05
        assert max(gaps) <= 0.51


def test_the_last_report_has_the_totals() -> None:
    fleet = exporting([[PAGE, 12.0]] * 8, workers=2)
    run(fleet)
    last = [report for _, report in fleet.reports if report.stopped]
    assert sorted(report.worker for report in last) == [0, 1]
    assert sum(report.usage.capacity_units for report in last) == 8 * 140
    assert sum(report.usage.requests for report in last) == 16
    assert sum(report.usage.items for report in last) == 8 * 140
    assert fleet.ledger.read == 8 * 140


def test_an_empty_table_leaves_no_file() -> None:
    fleet = exporting([[0.0]] * 8, workers=2)
    run(fleet)
    fleet.ledger.check()
    assert fleet.coordinator.leases.done
    assert fleet.sink.calls == []


def test_no_unit_is_worked_on_twice() -> None:
    fleet = exporting([[1.0]] * 100, workers=5)
    run(fleet)
    leased = [lease.split.id for _, _, grant in fleet.grants for lease in grant.leases]
    assert sorted(leased) == list(range(100))


# The last line wins


def test_of_records_with_one_key_the_last_in_the_span_wins(tmp_path: Path) -> None:
    rng = random.Random(3)
    lines = [json.dumps({"pk": f"key {rng.randrange(60)}", "n": number}) for number in range(1_500)]
    fleet = importing(tmp_path / "in.jsonl", lines, 10**9)
    unprocessed = iter([True, False, False] * 10_000)
    fleet.table.hook = lambda operation, payload: leave_some(fleet.table, payload) if next(unprocessed) else None
    run(fleet)
    fleet.ledger.check()
    expected = {record["pk"]: str(record["n"]) for record in map(json.loads, lines)}
    assert {key: item["n"]["N"] for key, item in fleet.table.items.items()} == expected
    assert all(len({item["pk"]["S"] for item in batch}) == len(batch) for batch in fleet.table.batches)


def test_an_item_that_comes_back_often_is_one_that_came_back(tmp_path: Path) -> None:
    fleet = importing(tmp_path / "in.jsonl", put_lines(1_000), 10**9)

    def leave_hot(operation: str, payload: dict[str, Any]) -> Reply | None:
        ((name, writes),) = payload["RequestItems"].items()
        hot = [write for write in writes if write["PutRequest"]["Item"]["pk"]["S"] in ("key 3", "key 400")]
        if not hot or asyncio.get_running_loop().time() > 20:
            return None
        return reply({"UnprocessedItems": {name: hot}})

    fleet.table.hook = leave_hot
    run(fleet)
    fleet.ledger.check()
    (usage,) = fleet.coordinator.usages
    assert usage.throttles > 4
    assert usage.returned == 2


def leave_some(table: FakeTable, payload: dict[str, Any]) -> Reply:
    """Write every other record, and send the rest back, in another order."""
    ((name, writes),) = payload["RequestItems"].items()
    for write in writes[::2]:
        item = write["PutRequest"]["Item"]
        table.items[item["pk"]["S"]] = item
    left = writes[1::2][::-1]
    return reply({"UnprocessedItems": {name: left} if left else {}})


# Passing failures


FAILURES = [
    error_reply("ProvisionedThroughputExceededException"),
    error_reply("InternalServerError", status=500),
    Reply(200, {}, b'{"Count":0,"Items":[]}'),
    Reply(200, {"x-amz-crc32": "1"}, b'{"Count":0,"Items":[]}'),
    reply(b'{"Items":[]}'),
    reply(b"[]"),
    error_reply("ThrottlingException", status=429),
]


def flaky(seed: int) -> Any:
    rng = random.Random(seed)
    return lambda operation, payload: rng.choice(FAILURES) if rng.random() < 0.3 else None


@pytest.mark.parametrize("seed", range(3))
def test_passing_failures_of_scans_lose_and_double_nothing(seed: int) -> None:
    fleet = exporting([[3.0] * 5] * 20, workers=2)
    fleet.table.hook = flaky(seed)
    run(fleet)
    fleet.ledger.check()
    assert fleet.coordinator.failure is None
    assert Counter(exported(fleet.sink)) == Counter(fleet.table.all_items())
    usages = fleet.coordinator.usages
    assert sum(usage.requests for usage in usages) == 100 + sum(usage.retries for usage in usages)
    assert sum(usage.throttles for usage in usages) > 0


@pytest.mark.parametrize("seed", range(3))
def test_passing_failures_of_puts_lose_nothing(seed: int, tmp_path: Path) -> None:
    fleet = importing(tmp_path / "in.jsonl", put_lines(1_000), 3_000, workers=2)
    fleet.table.hook = flaky(seed)
    run(fleet)
    fleet.ledger.check()
    assert fleet.coordinator.failure is None
    assert len(fleet.table.items) == fleet.ledger.written == 1_000


class Guarded(FakeTable):
    """Knows the key `new` only."""

    async def __call__(self, url: str, headers: Any, body: bytes) -> Reply:
        if "Credential=new/" not in headers["Authorization"]:
            await asyncio.sleep(self.latency)
            return error_reply("ExpiredTokenException", "The token expired.")
        return await super().__call__(url, headers, body)


def test_credentials_that_expire_are_renewed_once_for_all() -> None:
    fleet = exporting([[5.0] * 3] * 20, workers=3)
    fleet.table, vault = Guarded(fleet.table.pages), FakeCredentials(CREDENTIALS, Credentials("new", "secret"))
    fleet.credentials = vault
    assert run(fleet) < 5
    assert fleet.coordinator.failure is None
    assert vault.asked == 1
    assert Counter(exported(fleet.sink)) == Counter(fleet.table.all_items())


def test_without_other_credentials_the_job_fails() -> None:
    fleet = exporting([[5.0] * 3] * 20, workers=3)
    fleet.table, fleet.credentials = Guarded(fleet.table.pages), FakeCredentials(CREDENTIALS)
    assert run(fleet) < 5
    assert type(fleet.coordinator.failure) is JobFailedError
    assert "CredentialsUnavailableError: " in fleet.coordinator.failure.__notes__[0]


# Records that can't be written


def rejected(fleet: Fleet) -> list[dict[str, Any]]:
    assert fleet.rejects is not None
    return [json.loads(line) for line in fleet.rejects.read_text().splitlines()]


def test_bad_records_are_rejected_and_the_rest_goes_in(tmp_path: Path) -> None:
    lines = put_lines(200)
    lines[3], lines[50], lines[199] = "{", '{"other": 1}', "[]"
    fleet = importing(tmp_path / "in.jsonl", lines, 10**9)
    run(fleet)
    fleet.ledger.check()
    assert (fleet.ledger.written, fleet.ledger.rejected) == (197, 3)
    found = rejected(fleet)
    assert [(one["line"], one["raw"]) for one in found] == [(4, "{"), (51, '{"other": 1}'), (200, "[]")]
    data = (tmp_path / "in.jsonl").read_text()
    assert [data[one["offset"] : one["offset"] + one["length"]] for one in found] == [one["raw"] for one in found]


def test_a_refused_batch_is_split_down_to_the_bad_record(tmp_path: Path) -> None:
    bad = {"key 7", "key 30", "key 31"}

    def refuse(operation: str, payload: dict[str, Any]) -> Reply | None:
        ((_, writes),) = payload["RequestItems"].items()
        if bad & {write["PutRequest"]["Item"]["pk"]["S"] for write in writes}:
            return error_reply("ValidationException", "One or more parameter values were invalid")
        return None

    fleet = importing(tmp_path / "in.jsonl", put_lines(100), 10**9)
    fleet.table.hook = refuse
    run(fleet)
    fleet.ledger.check()
    assert set(fleet.table.items) == {f"key {number}" for number in range(100)} - bad
    assert {json.loads(one["raw"])["pk"] for one in rejected(fleet)} == bad
    assert {one["reason"] for one in rejected(fleet)} == {"refused_by_service"}


def test_a_stuck_record_holds_back_what_is_too_far_behind_it(tmp_path: Path) -> None:
    """That would all have to be sent again."""
    fleet, seen = importing(tmp_path / "in.jsonl", put_lines(20_000), 10**9), []
    fleet.pipeline = PipelineTuning(ahead_bytes=256 * 1024)

    def keep_first(operation: str, payload: dict[str, Any]) -> Reply | None:
        ((_, writes),) = payload["RequestItems"].items()
        first = [one for one in writes if one["PutRequest"]["Item"]["pk"]["S"] == "key 0"]
        if not first or asyncio.get_running_loop().time() > 15:
            return None
        seen.append(len(fleet.table.items))
        return leave(fleet, operation, payload, first)

    fleet.table.hook = keep_first
    run(fleet)
    assert 200 <= seen[-1] <= 256 * 1024 / (2 * len(put_lines(1)[0]))
    assert len(fleet.table.items) == 20_000


def test_bad_records_do_not_waste_the_budget(tmp_path: Path) -> None:
    """One of 25: most batches are refused, and split until it stands alone."""

    def refuse(operation: str, payload: dict[str, Any]) -> Reply | None:
        ((_, writes),) = payload["RequestItems"].items()
        if any(int(write["PutRequest"]["Item"]["pk"]["S"].split()[1]) % 25 == 7 for write in writes):
            return error_reply("ValidationException", "One or more parameter values were invalid")
        return None

    fleet = importing(tmp_path / "in.jsonl", put_lines(12_000), 20_000, 1_000, 2)
    fleet.table.hook = refuse
    run(fleet)
    assert fleet.ledger.rejected == 12_000 / 25
    assert units_per_second(fleet, "write", 1, 8) >= 850


def test_too_many_rejects_stop_the_job(tmp_path: Path) -> None:
    fleet = importing(tmp_path / "in.jsonl", ["nothing"] * 50_000, 20_000, 100)
    run(fleet)
    assert isinstance(fleet.coordinator.failure, TooManyRejectsError)
    assert not fleet.coordinator.leases.done
    assert 1_000 < len(rejected(fleet)) == fleet.ledger.rejected < 50_000


@pytest.mark.parametrize("bad", [0, 150])
def test_strict_stops_at_the_first_reject(bad: int, tmp_path: Path) -> None:
    lines = put_lines(151)
    lines[bad] = "{"
    fleet = importing(tmp_path / "in.jsonl", lines, 10**9)
    fleet.max_rejects = 0
    run(fleet)
    assert isinstance(fleet.coordinator.failure, TooManyRejectsError)
    assert len(rejected(fleet)) == 1


# Workers that die


def run_killing(fleet: Fleet, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the fleet; every now and then one of its workers is killed."""
    rng = random.Random(seed)
    fleet.tuning = Tuning(max_deaths=100)

    async def main() -> None:
        running = asyncio.create_task(fleet.run())
        for _ in range(8):
            await asyncio.sleep(rng.random() * 1.5)
            if not running.done():
                fleet.kill(rng.randrange(fleet.workers))
        await running

    run_virtual(main())
    fleet.ledger.check()
    assert fleet.coordinator.failure is None
    assert fleet.coordinator.leases.done


@pytest.mark.parametrize("seed", few(range(6), 0, 1))
def test_an_export_whose_workers_die_has_every_item_once(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = exporting([[PAGE] * 6 + [10.0]] * 20, 2_000, 3)
    fleet.sink.lag = 5_000 * (seed % 2)
    run_killing(fleet, seed, monkeypatch)
    assert Counter(exported(fleet.sink)) == Counter(fleet.table.all_items())
    assert {name: len(data) for name, data in fleet.sink.sealed.items()} == {
        name: state.bytes for name, state in fleet.ledger.files.items()
    }


@pytest.mark.parametrize("seed", few(range(6), 0, 1))
def test_an_import_whose_workers_die_counts_every_record_once(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = put_lines(2_000)
    lines[::100] = ["{"] * 20
    fleet = importing(tmp_path / "in.jsonl", lines, 3_000, 200, 3)
    run_killing(fleet, seed, monkeypatch)
    assert (fleet.ledger.written, fleet.ledger.rejected) == (1_980, 20)
    assert len(fleet.table.items) == 1_980
    assert len(rejected(fleet)) == 20


# Failures that end the job


@pytest.mark.parametrize("workers", [1, 4])
def test_a_fatal_error_stops_everybody_and_leaves_no_half_file(workers: int) -> None:
    count = 0

    def deny(operation: str, payload: dict[str, Any]) -> Reply | None:
        nonlocal count
        count += 1
        return error_reply("AccessDeniedException", "no") if count > 50 else None

    fleet = exporting([[PAGE] * 20] * 40, 10_000, workers)
    fleet.table.hook = deny
    assert run(fleet) < 4
    assert type(fleet.coordinator.failure) is JobFailedError
    assert "RefusedError: " in fleet.coordinator.failure.__notes__[0]
    created = {name for call, name in fleet.sink.calls if call == "create"}
    ended = {name for call, name in fleet.sink.calls if call in ("seal", "leave")}
    assert created == ended


@pytest.mark.parametrize("call", ["create", "write", "finish", "seal"])
def test_a_destination_that_fails_ends_the_job(call: str) -> None:
    fleet = exporting([[PAGE] * 3] * 40, workers=2)
    fleet.sink = MemorySink(fail=call)
    run(fleet)
    assert isinstance(fleet.coordinator.failure, DestinationError)
    assert not fleet.sink.sealed


def test_a_source_that_is_changed_ends_the_job(tmp_path: Path) -> None:
    fleet = importing(tmp_path / "in.jsonl", put_lines(3_000), 1_000)
    (tmp_path / "in.jsonl").write_text("{}\n")
    run(fleet)
    assert isinstance(fleet.coordinator.failure, SourceError)


def test_when_the_job_is_aborted_every_worker_ends_soon() -> None:
    fleet = exporting([[PAGE] * 1_000] * 40, 10_000, 3)

    async def main() -> float:
        running = asyncio.create_task(fleet.run())
        await asyncio.sleep(5)
        fleet.coordinator.abort()
        await running
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) < 5.6
    assert fleet.coordinator.failure is None
    assert not fleet.coordinator.leases.done
    assert not fleet.sink.sealed
    created = [name for call, name in fleet.sink.calls if call == "create"]
    assert sorted(created) == sorted(name for call, name in fleet.sink.calls if call == "leave")


@pytest.mark.parametrize("kind", ["export", "import"])
def test_a_cancelled_worker_leaves_nothing_behind(kind: str, tmp_path: Path) -> None:
    if kind == "export":
        fleet = exporting([[PAGE] * 1_000] * 40, 10_000)
    else:
        fleet = importing(tmp_path / "in.jsonl", put_lines(10_000), 1_000, 100)

    async def main() -> int:
        running = asyncio.create_task(fleet.run())
        await asyncio.sleep(5)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return len(asyncio.all_tasks())

    assert run_virtual(main()) == 1
    created = [name for call, name in fleet.sink.calls if call == "create"]
    assert sorted(created) == sorted(name for call, name in fleet.sink.calls if call == "leave")


def test_a_table_that_takes_nothing_fails_the_job_in_the_end(tmp_path: Path) -> None:
    def keep_out(operation: str, payload: dict[str, Any]) -> Reply:
        return reply({"UnprocessedItems": payload["RequestItems"]})

    fleet = importing(tmp_path / "in.jsonl", put_lines(100), 10**9)
    fleet.table.hook = keep_out
    seconds = run(fleet)
    assert RETRY_SECONDS < seconds < RETRY_SECONDS + 60
    assert fleet.coordinator.failure is not None
    assert "no record" in fleet.coordinator.failure.message


def test_a_table_that_never_answers_fails_the_job_in_the_end() -> None:
    fleet = exporting([[PAGE]])
    fleet.table.hook = lambda operation, payload: error_reply("InternalServerError", status=500)
    seconds = run(fleet)
    assert RETRY_SECONDS < seconds < RETRY_SECONDS + 60
    assert type(fleet.coordinator.failure) is JobFailedError
    assert "UnavailableError: " in fleet.coordinator.failure.__notes__[0]


def test_counts_that_do_not_agree_fail_the_job() -> None:
    """A reply whose Count is not that of its items."""
    fleet = exporting([[5.0]])
    page = {"Count": 6, "ScannedCount": 6, "Items": [{"pk": {"S": str(number)}} for number in range(5)]}
    fleet.table.hook = lambda operation, payload: reply(page)
    run(fleet)
    with pytest.raises(LedgerError, match="Read 6 records, but wrote 5"):
        fleet.ledger.check()


def test_a_record_that_the_encoder_loses_fails_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lossy(*given: Any) -> encoding.Encoded:
        encoded = encoding.encode_block(*given)
        return encoded._replace(entries=encoded.entries[:-1])

    monkeypatch.setattr(span, "encode_block", lossy)
    fleet = importing(tmp_path / "in.jsonl", [*put_lines(20), " ", ""], 10**9)
    run(fleet)
    assert isinstance(fleet.coordinator.failure, LedgerError)
    assert "0 records were taken in" in fleet.coordinator.failure.message
    assert fleet.ledger.read == 0


def test_a_defect_in_a_worker_is_reported_as_one() -> None:
    fleet = exporting([[PAGE]])

    def explode(operation: str, payload: dict[str, Any]) -> Reply:
        raise RuntimeError("boom")

    fleet.table.hook = explode
    run(fleet)
    assert type(fleet.coordinator.failure) is JobFailedError
    assert "RuntimeError" in fleet.coordinator.failure.message
    assert "boom" in fleet.coordinator.failure.__notes__[0]


def test_an_exchange_that_fails_ends_the_worker() -> None:
    fleet = exporting([[PAGE] * 100], 1_000)

    def cut(report: Report) -> None:
        if fleet.clock.now() > 2:
            raise ConnectionError("gone")

    fleet.on_report = cut
    with pytest.raises(ExceptionGroup) as caught:
        run(fleet)
    assert caught.group_contains(ConnectionError)
    assert not fleet.sink.sealed


def test_a_worker_that_is_asked_to_reports_at_once() -> None:
    """So a carrier that has something to say, like that the job was cancelled, need not wait for the next Report."""
    fleet = exporting([[PAGE]])
    reported: list[float] = []

    async def main() -> float:
        loop = asyncio.get_running_loop()

        async def exchange(report: Report) -> Grant:
            reported.append(loop.time())
            return Grant(rate=0.0, stop="abort" if len(reported) > 1 else "")

        welcome = Welcome(worker=0, run="r", job=fleet.job, credentials=CREDENTIALS)
        worker = Worker(welcome, exchange, fleet.clock, fleet.open_engine)
        loop.call_later(0.2, worker.report_now)
        await worker.run()
        return loop.time()

    assert run_virtual(main()) < 0.21
    assert [round(at, 2) for at in reported] == [0.0, 0.2, 0.2]
