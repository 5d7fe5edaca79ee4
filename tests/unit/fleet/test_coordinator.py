"""The coordinator: every split done once, every commit taken once, never more spent than there is."""

from __future__ import annotations

import math
import random
import tracemalloc
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddbio.capacity import Bucket, Budget, Pace
from ddbio.errors import JobFailedError, LedgerError
from ddbio.fleet.coordinator import Coordinator, Decision
from ddbio.fleet.protocol import Failure, Grant, Report
from ddbio.fleet.tuning import LANE_BYTES
from ddbio.jobs import planning
from ddbio.ledger.entries import Commit, Lease, Split, SplitState
from ddbio.ledger.positions import START, AtOffset
from ddbio.pipeline.meter import Usage

NUMBERS = count(1)
"""Every report has a number of its own."""

BUDGET = 1_000.0
FAILURE = Failure(kind="JobFailedError", message="It broke.")


def coordinator(splits: int = 4, workers: int = 2, seed: int = 1, sources: int = 1) -> Coordinator:
    return Coordinator(
        [Split(number, source=number * sources // splits) for number in range(splits)],
        workers=workers,
        budget=Budget(Pace(BUDGET)),
        rng=random.Random(seed),
    )


def report(worker: int = 0, *, wanted: int = 0, rate: float = 0.0, **more: Any) -> Report:
    return Report(
        worker=worker,
        number=more.pop("number", None) or next(NUMBERS),
        wanted=wanted,
        rate=rate,
        usage=more.pop("usage", Usage()),
        **more,
    )


def commit(lease: Lease, seq: int, *, done: bool = False) -> Commit:
    return Commit(split=lease.split.id, epoch=lease.epoch, seq=seq, position=AtOffset(seq), done=done)


# Splits and commits


def test_splits_go_out_once_each_in_a_random_order() -> None:
    orders = set()
    for seed in range(5):
        subject = coordinator(20, seed=seed)
        leases = [
            *subject.report(report(0, wanted=7), 0).grant.leases,
            *subject.report(report(1, wanted=50), 0).grant.leases,
        ]
        assert sorted(lease.split.id for lease in leases) == list(range(20))
        assert {lease.epoch for lease in leases} == {1}
        orders.add(tuple(lease.split.id for lease in leases))
    assert len(orders) == 5
    assert tuple(range(20)) not in orders


def test_a_worker_gets_as_many_splits_as_it_wants() -> None:
    subject = coordinator(5, workers=1)
    assert len(subject.report(report(wanted=3), 0).grant.leases) == 3
    assert subject.report(report(wanted=0), 1).grant.leases == ()
    assert len(subject.report(report(wanted=3), 2).grant.leases) == 2


def of_files(*sizes: int, workers: int = 1) -> Coordinator:
    splits = [Split(number, size=size) for number, size in enumerate(sizes)]
    return Coordinator(splits, workers=workers, budget=Budget(Pace(BUDGET)), rng=random.Random(1))


@pytest.mark.parametrize(
    ("size", "leased"), [(0, 128), (100, 128), (LANE_BYTES // 64, 128), (LANE_BYTES // 8, 16), (LANE_BYTES, 2)]
)
def test_small_files_are_leased_many_for_a_lane(size: int, leased: int) -> None:
    assert len(of_files(*[size] * 500).report(report(wanted=2), 0).grant.leases) == leased


def test_a_lane_takes_at_most_one_large_file_after_small_ones() -> None:
    subject = of_files(*[LANE_BYTES // 2, 100 * LANE_BYTES] * 50)
    for _ in range(20):
        leases = subject.report(report(wanted=1), 0).grant.leases
        assert sum(lease.split.size or 0 for lease in leases[:-1]) < LANE_BYTES


def test_small_files_are_spread_over_the_workers() -> None:
    subject = of_files(*[100] * 100, workers=4)
    grants = [subject.report(report(number, wanted=4), number / 100).grant for number in range(4)]
    assert [len(grant.leases) for grant in grants] == [25] * 4


def test_few_splits_are_spread_over_the_workers() -> None:
    subject = coordinator(10, workers=8)
    grants = [subject.report(report(number, wanted=16), number / 100).grant for number in range(8)]
    assert sorted(len(grant.leases) for grant in grants) == [1, 1, 1, 1, 1, 1, 2, 2]
    assert all(grant.rate == BUDGET / 8 for grant in grants)


def test_the_job_is_done_when_every_split_is() -> None:
    subject = coordinator(2)
    (first,) = subject.report(report(wanted=2), 0).grant.leases  # the other one is for worker 1, if it comes
    (second,) = subject.report(report(wanted=1), 0.5).grant.leases
    decision = subject.report(report(commits=(commit(first, 1, done=True),)), 1)
    assert decision.grant.stop == ""
    assert not subject.leases.done
    decision = subject.report(report(commits=(commit(second, 1), commit(second, 2, done=True))), 2)
    assert decision.commits == (commit(second, 1), commit(second, 2, done=True))
    assert decision.grant.acknowledged == 2
    assert (decision.grant.stop, subject.leases.done, subject.leases.splits_done) == ("done", True, 2)
    assert subject.report(report(1), 3).grant.stop == "done"


def test_a_job_without_splits_is_done_at_once() -> None:
    assert coordinator(0).report(report(wanted=8), 0).grant.stop == "done"


def test_a_repeated_commit_is_acknowledged_but_not_applied() -> None:
    subject = coordinator()
    (lease,) = subject.report(report(wanted=1), 0).grant.leases
    again = report(commits=(commit(lease, 1), commit(lease, 2, done=True)))
    assert len(subject.report(again, 1).commits) == 2
    decision = subject.report(again, 2)
    assert decision.commits == ()
    assert decision.grant.acknowledged == 2
    assert subject.leases.splits_done == 1


def test_a_commit_under_an_old_or_foreign_lease_is_not_accepted() -> None:
    subject = coordinator()
    (lease,) = subject.report(report(wanted=1), 0).grant.leases
    older = Lease(lease.split, lease.epoch - 1)
    assert subject.report(report(0, commits=(commit(older, 1),)), 1).commits == ()
    assert subject.report(report(1, commits=(commit(lease, 1),)), 1).commits == ()
    assert len(subject.report(report(0, commits=(commit(lease, 1),)), 2).commits) == 1


@pytest.mark.parametrize("seqs", [(2,), (1, 3), (1, 2, 4)])
def test_a_missing_commit_is_an_error(seqs: tuple[int, ...]) -> None:
    subject = coordinator()
    (lease,) = subject.report(report(wanted=1), 0).grant.leases
    with pytest.raises(LedgerError, match="missing"):
        subject.report(report(commits=tuple(commit(lease, seq) for seq in seqs)), 1)


def test_a_split_can_not_go_on_after_its_end() -> None:
    subject = coordinator()
    (lease,) = subject.report(report(wanted=1), 0).grant.leases
    with pytest.raises(LedgerError):
        subject.report(report(commits=(commit(lease, 1, done=True), commit(lease, 2))), 1)


# Several sources


def test_a_source_begins_when_the_one_before_is_durable() -> None:
    subject = coordinator(3, workers=1, sources=3)
    for number in range(3):
        grant = subject.report(report(wanted=3), number).grant
        (lease,) = grant.leases
        assert (lease.split.source, subject.leases.between_sources) == (number, False)
        ended = report(wanted=3, commits=(commit(lease, 1, done=True),))
        grant = subject.report(ended, number).grant
        assert (grant.leases, grant.stop) == ((), "" if number < 2 else "done")
        assert subject.leases.between_sources is (number < 2)
        assert subject.leases.splits_done == number + 1
        subject.begin_next_source()
    assert subject.leases.done


def test_a_report_sent_at_the_end_of_a_source_is_taken_again() -> None:
    subject = coordinator(2, workers=1, sources=2)
    (lease,) = subject.report(report(wanted=1), 0).grant.leases
    ended = report(wanted=1, commits=(commit(lease, 1, done=True),))
    assert subject.report(ended, 1).grant.leases == ()
    subject.begin_next_source()
    decision = subject.report(ended, 1)
    assert decision.commits == ()
    assert decision.grant.acknowledged == 1
    assert [lease.split.source for lease in decision.grant.leases] == [1]


def test_no_source_ends_before_a_lost_workers_split_is_returned() -> None:
    subject = coordinator(2, workers=1, sources=2)
    subject.report(report(wanted=1), 0)
    held = subject.lost(0)
    assert not subject.leases.between_sources
    subject.begin_next_source()
    subject.leases.release({number: SplitState() for number in held})
    assert [lease.split.source for lease in subject.report(report(wanted=1), 1).grant.leases] == [0]


def test_sources_that_were_done_before_are_passed_over() -> None:
    splits = [Split(number, source=number // 2) for number in range(6)]
    subject = Coordinator(splits, workers=1, budget=Budget(Pace(BUDGET)), rng=random.Random(1), done={0, 1, 2})
    assert subject.leases.splits_done == 3
    assert [lease.split.id for lease in subject.report(report(wanted=9), 0).grant.leases] == [3]


def test_what_is_not_begun_takes_no_more_than_its_number() -> None:
    tracemalloc.start()
    try:
        subject = Coordinator(planning.segments(200_000), workers=2, budget=Budget(Pace(1)), rng=random.Random(1))
        leases = subject.report(report(wanted=32), 0).grant.leases
        for second, lease in enumerate(leases, 1):
            subject.report(report(wanted=1, commits=(commit(lease, 1, done=True),)), second)
        assert tracemalloc.get_traced_memory()[0] < 200_000 * 6
    finally:
        tracemalloc.stop()
    assert subject.leases.splits_done == 32
    assert len(subject.lost(0)) == 32


# Stopping


def test_a_failure_stops_everybody_and_the_first_is_kept() -> None:
    subject = coordinator()
    assert subject.report(report(0, failure=FAILURE, stopped=True), 0).grant.stop == "abort"
    subject.abort(JobFailedError("Another."))
    grant = subject.report(report(1, wanted=3), 1).grant
    assert (grant.stop, grant.leases) == ("abort", ())
    assert type(subject.failure) is JobFailedError
    assert subject.failure.message == FAILURE.message


def test_commits_that_come_with_a_failure_still_count() -> None:
    subject = coordinator()
    (lease,) = subject.report(report(wanted=1), 0).grant.leases
    last = report(commits=(commit(lease, 1),), failure=FAILURE, stopped=True)
    assert subject.report(last, 1).commits == last.commits


def test_an_abort_without_a_reason_stops_without_a_failure() -> None:
    subject = coordinator()
    subject.abort()
    assert subject.report(report(wanted=1), 0).grant.stop == "abort"
    assert subject.failure is None


def test_a_worker_that_stops_gets_nothing_more() -> None:
    assert coordinator().report(report(wanted=3, stopped=True), 0).grant.leases == ()


def test_a_lost_worker_leaves_its_splits_and_share_to_others() -> None:
    subject = coordinator(2)
    (done,) = subject.report(report(0, wanted=1), 0).grant.leases
    (held,) = subject.report(report(0, wanted=1), 0.5).grant.leases
    subject.report(report(0, commits=(commit(done, 1, done=True), commit(held, 1)), rate=500.0), 1)
    assert subject.report(report(1, wanted=1), 1).grant.leases == ()
    assert subject.lost(0) == [held.split.id]
    subject.leases.release({held.split.id: SplitState(position=AtOffset(1), number=4)})
    assert subject.report(report(0, commits=(commit(held, 2),)), 3).commits == ()
    grant = subject.report(report(1, wanted=1), 2).grant
    (again,) = grant.leases
    assert grant.rate == BUDGET
    assert again.epoch > held.epoch
    assert (again.split, again.position, again.number) == (held.split, AtOffset(1), 4)
    assert subject.report(report(1, commits=(commit(again, 1, done=True),)), 3).grant.stop == "done"


def test_a_split_whose_worker_had_committed_its_end_is_done() -> None:
    subject = coordinator(1)
    (held,) = subject.report(report(0, wanted=1), 0).grant.leases
    subject.lost(0)
    subject.leases.release({held.split.id: SplitState(position=AtOffset(9), finished=True)})
    assert subject.leases.done
    assert subject.report(report(1, wanted=1), 1).grant.stop == "done"


def test_what_is_known_to_be_done_is_not_leased_again() -> None:
    subject = Coordinator(
        list(map(Split, range(3))),
        workers=1,
        budget=Budget(Pace(1)),
        rng=random.Random(1),
        progress={2: SplitState(position=AtOffset(5), number=3)},
        done={0},
    )
    leases = {lease.split.id: lease for lease in subject.report(report(wanted=9), 0).grant.leases}
    assert sorted(leases) == [1, 2]
    assert (leases[1].position, leases[1].number) == (START, 0)
    assert (leases[2].position, leases[2].number) == (AtOffset(5), 3)
    assert subject.leases.splits_done == 1


def test_what_a_lost_worker_used_still_counts() -> None:
    subject = coordinator()
    subject.report(report(0, usage=Usage(items=3)), 0)
    subject.lost(0)
    subject.report(report(0, usage=Usage(items=4)), 1)
    assert sum(usage.items for usage in subject.usages) == 7


# Shares


def test_the_shares_begin_equal() -> None:
    subject = coordinator(100, workers=4)
    for number in range(4):
        assert subject.report(report(number, wanted=8), 0).grant.rate == BUDGET / 4


def test_a_share_goes_up_only_when_the_others_have_gone_down() -> None:
    subject = coordinator(1)
    (lease,) = subject.report(report(0, wanted=1), 0).grant.leases
    assert subject.report(report(1, wanted=1, rate=500.0), 0).grant.rate == 0  # no split is left for it
    assert subject.report(report(0, rate=500.0), 0.5).grant.rate == 500  # it has not said yet that it keeps to that
    subject.report(report(1, rate=0.0), 0.55)
    assert subject.report(report(0, rate=500.0), 1.0).grant.rate == BUDGET
    assert lease.split.id == 0


def test_what_one_worker_can_not_use_goes_to_the_one_that_waits() -> None:
    subject = coordinator(2)
    for number in range(2):
        subject.report(report(number, wanted=1, rate=500.0), 0)
    rates = [500.0, 500.0]
    for second in range(1, 5):
        lazy = Usage(capacity_units=100.0 * second, used_up=100.0 * second)
        eager = Usage(capacity_units=500.0 * second, used_up=500.0 * second, queued=0.9 * second, waited=0.9 * second)
        for number, usage in enumerate((lazy, eager)):
            rates[number] = subject.report(report(number, rate=rates[number], usage=usage), second).grant.rate
    assert rates[0] == pytest.approx(107)  # a little more than it spends, so that it can be seen to wait
    assert rates[1] == pytest.approx(893)


@pytest.mark.parametrize(
    ("budget", "collections", "expected"),
    [
        (6_000.0, [1, 0], [4_500.0, 1_500.0]),
        (6_000.0, [1, 1], [3_000.0, 3_000.0]),
        (7_000.0, [1, 1], [3_500.0, 3_500.0]),
        (12_000.0, [2, 1], [7_500.0, 4_500.0]),
        (3_200.0, [1, 0], [1_600.0, 1_600.0]),
    ],
)
def test_large_collections_first_get_what_a_partition_bears(
    budget: float, collections: list[int], expected: list[float]
) -> None:
    subject = Coordinator(list(map(Split, range(8))), workers=2, budget=Budget(Pace(budget)), rng=random.Random(1))
    rates = [subject.report(report(number, wanted=4), 0).grant.rate for number in range(2)]
    for second in range(1, 4):
        for number, inside in enumerate(collections):
            rates[number] = subject.report(
                report(number, rate=rates[number], collections=inside), second / 10
            ).grant.rate
    assert rates == pytest.approx(expected)


def test_lumps_do_not_shift_shares() -> None:
    """Two workers whose requests cost two seconds' worth each: now one of them has just taken that, now the other."""
    subject = coordinator(2)
    buckets = [Bucket(500.0, 0.0), Bucket(500.0, 0.0)]
    for tick in range(200):
        now, number = tick * 0.05, tick % 2
        bucket = buckets[number]
        bucket.try_take(1_000.0, now)
        usage = Usage(used_up=bucket.used_up, queued=now * 0.8, waited=now * 0.8)
        rate = subject.report(report(number, wanted=tick < 2, rate=500.0, usage=usage), now).grant.rate
        assert rate == 500


def test_units_given_back_later_are_no_negative_demand() -> None:
    """A worker whose requests are all refused, but for those of the other."""
    subject = coordinator(2)
    for number in range(2):
        subject.report(report(number, wanted=1, rate=500.0), 0)
    for second in range(1, 4):
        usage = Usage(used_up=-900.0 * second)
        assert subject.report(report(0, rate=500.0, usage=usage), second).grant.rate > 0


def test_totals_are_kept_for_each_worker() -> None:
    subject = coordinator()
    subject.report(report(0, usage=Usage(items=3)), 0)
    subject.report(report(1, usage=Usage(items=4)), 0)
    subject.report(report(1, usage=Usage(items=4)), 1)
    assert [usage.items for usage in subject.usages] == [3, 4]


# Any schedule


@dataclass
class Lane:
    """A split that a simulated worker works on."""

    lease: Lease
    commits: int
    seq: int = 0


@dataclass
class Simulated:
    """A worker that does as it is told, and as `Worker` does: commits stay in its outbox until acknowledged."""

    number: int
    rng: random.Random
    rate: float = 0.0
    usage: Usage = field(default_factory=Usage)
    lanes: list[Lane] = field(default_factory=list)
    outbox: list[Commit] = field(default_factory=list)
    stopped: bool = False

    def work(self, seconds: float) -> None:
        busy = self.rng.choice([0.0, 0.2, 1.0, 1.0])
        self.usage = Usage(
            capacity_units=self.usage.capacity_units + busy * self.rate * seconds,
            used_up=self.usage.used_up + busy * self.rate * seconds,
            queued=self.usage.queued + (busy == 1) * seconds,
            waited=self.usage.waited + (busy == 1) * seconds,
        )
        for lane in self.rng.sample(self.lanes, k=min(len(self.lanes), self.rng.randint(0, 3))):
            lane.seq += 1
            self.outbox.append(commit(lane.lease, lane.seq, done=lane.seq == lane.commits))
            if lane.seq == lane.commits:
                self.lanes.remove(lane)

    def report(self) -> Report:
        return report(
            self.number, wanted=4 - len(self.lanes), rate=self.rate, usage=self.usage, commits=tuple(self.outbox)
        )

    def apply(self, grant: Grant) -> None:
        self.rate = grant.rate
        del self.outbox[: grant.acknowledged]
        self.lanes += [Lane(lease, self.rng.randint(1, 4)) for lease in grant.leases]
        self.stopped = bool(grant.stop)


class Job:
    """A coordinator, its workers, and the laws that hold after every step."""

    def __init__(self, workers: int, splits: int, seed: int, sources: int = 1) -> None:
        self.rng = random.Random(seed)
        self.subject = coordinator(splits, workers, seed, sources)
        self.sources = {number: number * sources // splits for number in range(splits)}
        self.durable: set[int] = set()
        self.workers = [Simulated(number, self.rng) for number in range(workers)]
        self.splits = splits
        self.now = 0.0
        self.holders: dict[int, int] = {}
        self.epochs: dict[int, int] = {}
        self.accepted: list[tuple[int, int, int]] = []
        self.done: list[int] = []

    def step(self, number: int, pause: float, *, grant_lost: bool = False) -> None:
        worker = self.workers[number]
        if worker.stopped:
            return
        self.now += pause
        worker.work(pause)
        message = worker.report()
        if grant_lost:  # the same again, without asking for splits twice
            message = report(number, rate=message.rate, usage=message.usage, commits=message.commits)
            self.take_in(self.subject.report(message, self.now))
        decision = self.subject.report(message, self.now)
        self.take_in(decision)
        for lease in decision.grant.leases:
            assert lease.split.id not in self.holders
            assert lease.epoch > self.epochs.get(lease.split.id, 0)
            assert {split for split, source in self.sources.items() if source < lease.split.source} <= self.durable
            self.holders[lease.split.id], self.epochs[lease.split.id] = number, lease.epoch
        worker.apply(decision.grant)
        assert 0 <= decision.grant.rate < math.inf
        assert sum(one.rate for one in self.workers) <= BUDGET * (1 + 1e-9)

    def write(self) -> None:
        """What was taken in until now becomes durable."""
        self.durable |= set(self.done)
        self.subject.begin_next_source()

    def lose(self, number: int) -> None:
        """A worker dies, and another takes its place. What it had not reported is done again."""
        if self.workers[number].stopped:
            return
        held = self.subject.lost(number)
        assert sorted(held) == sorted(split for split, holder in self.holders.items() if holder == number)
        for split in held:
            del self.holders[split]
        late = self.workers[number].report()
        self.workers[number] = Simulated(number, self.rng)
        self.subject.leases.release({split: SplitState() for split in held})
        assert self.subject.report(late_commits(late), self.now).commits == ()

    def take_in(self, decision: Decision) -> None:
        for one in decision.commits:
            assert one.epoch == self.epochs[one.split]
            self.accepted.append((one.split, one.epoch, one.seq))
            if one.done:
                self.done.append(one.split)
                del self.holders[one.split]
        assert len(set(self.accepted)) == len(self.accepted)
        assert len(set(self.done)) == len(self.done) == self.subject.leases.splits_done


def late_commits(message: Report) -> Report:
    """Only the commits of a Report, as if they came after the worker was given up."""
    return report(message.worker, commits=message.commits)


steps = st.lists(
    st.tuples(st.integers(0, 7), st.floats(0.0, 1.5), st.sampled_from(["", "", "", "grant lost", "worker lost"])),
    max_size=120,
)


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(0, 30), st.integers(0, 1_000), steps)
def test_whatever_happens_the_laws_hold(
    workers: int, splits: int, seed: int, steps: list[tuple[int, float, str]]
) -> None:
    job = Job(workers, splits, seed)
    for number, pause, accident in steps:
        if accident == "worker lost":
            job.lose(number % workers)
        job.step(number % workers, pause, grant_lost=accident == "grant lost")
    for _ in range(400):
        for number in range(workers):
            job.step(number, 0.5)
    assert sorted(job.done) == list(range(splits))
    assert all(worker.stopped for worker in job.workers)
    assert not any(worker.outbox for worker in job.workers)


writes = st.tuples(st.integers(0, 7), st.floats(0.0, 1.5), st.sampled_from(["", "", "write", "worker lost"]))


@given(st.integers(1, 4), st.integers(1, 12), st.integers(1, 12), st.integers(0, 1_000), st.lists(writes, max_size=120))
def test_a_later_source_is_leased_when_earlier_ones_are_durable(
    workers: int, splits: int, sources: int, seed: int, steps: list[tuple[int, float, str]]
) -> None:
    job = Job(workers, splits, seed, sources)
    for number, pause, event in steps:
        if event == "worker lost":
            job.lose(number % workers)
        if event == "write":
            job.write()
        job.step(number % workers, pause)
    for _ in range(400):
        job.write()
        for number in range(workers):
            job.step(number, 0.5)
    assert sorted(job.done) == list(range(splits))
    assert all(worker.stopped for worker in job.workers)


@settings(deadline=None)
@given(st.integers(2, 8), st.integers(0, 1_000))
def test_the_whole_budget_is_out_soon_whoever_wants_it(workers: int, seed: int) -> None:
    """Some workers wait all the time and the others spend a little: two seconds later nothing lies idle."""
    rng = random.Random(seed)
    subject = coordinator(100, workers, seed)
    eager = [number == 0 or rng.random() < 0.5 for number in range(workers)]
    rates, spent = [0.0] * workers, [0.0] * workers
    offsets = [rng.random() * 0.5 for _ in range(workers)]
    for tick in range(12):
        for number in sorted(range(workers), key=offsets.__getitem__):
            now = tick * 0.5 + offsets[number]
            spent[number] += 0.5 * (rates[number] if eager[number] else min(rates[number], 10.0))
            waited = now if eager[number] else 0.0
            usage = Usage(capacity_units=spent[number], used_up=spent[number], queued=waited, waited=waited)
            message = report(number, wanted=tick == 0, rate=rates[number], usage=usage)
            rates[number] = subject.report(message, now).grant.rate
    assert sum(rates) == pytest.approx(BUDGET)
    assert min(rate for rate, wants in zip(rates, eager, strict=True) if wants) >= max(rates) * 0.999


@settings(deadline=None)
@given(
    st.integers(1, 6),
    st.lists(st.tuples(st.sampled_from([0.0, 50.0, 400.0, 1_000.0, 5_000.0]), st.integers(0, 1_000)), max_size=8),
)
def test_a_changed_budget_is_kept_once_everybody_knows_it(workers: int, changes: list[tuple[float, int]]) -> None:
    budget = Budget(Pace(BUDGET))
    subject = Coordinator(list(map(Split, range(20))), workers=workers, budget=budget, rng=random.Random(1))
    rates, most = [0.0] * workers, BUDGET
    for rate, seed in [(BUDGET, 0), *changes]:
        budget.set(Pace(rate))
        most = max(most, rate)
        for turn in range(8):
            for number in random.Random(seed + turn).sample(range(workers), workers):
                grant = subject.report(report(number, wanted=1, rate=rates[number]), turn * 0.5).grant
                rates[number] = grant.rate
                assert sum(rates) <= most * (1 + 1e-9)
            if turn:
                assert sum(rates) <= rate * (1 + 1e-9)
        assert sum(rates) == pytest.approx(rate)
        most = rate
