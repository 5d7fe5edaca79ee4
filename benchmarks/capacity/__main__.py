"""The measurements, one section each (see the package)."""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.capacity import fleet as fleets
from benchmarks.capacity import real
from benchmarks.capacity.judge import judge, percent, table
from benchmarks.capacity.plot import plot
from ddbio.capacity import Governor, Pace
from ddbio.clock import LoopClock
from ddbio.events import Progress
from tests.kit.faults.capacity import Limits
from tests.kit.fleets import Fleet, export_job, import_job
from tests.kit.servers.units import write_units
from tests.kit.sized import SizedTable, counts_for, exporting, run, spans_of, write_dump

RESULTS = Path(__file__).parents[1] / "results" / "capacity"
KB = 1_024
PLENTY = 1e12
PARTITION = 3_000.0
PAGE = 128.5
"""What a page costs: it has the item with which it passes 1 MB."""
LONGEST = 1_000.0
"""A cell of the matrix that would have to run for more virtual seconds is left out, as is one with less than a unit a
second for each process.
"""


def matrix(quick: bool) -> str:
    """Budgets × item sizes × processes."""
    rows = []
    worst, least = 0.0, 1.0
    for kind, budget, size, processes in _cells(quick):
        request = _request(kind, budget / processes, size)
        # In so long a run, one request for each process is a tenth of what the budget allows.
        seconds = max(8 if budget > 1_000 else 20, 10 * processes * request / budget)
        if seconds > LONGEST or budget < processes:
            continue
        cell = fleets.matrix_export if kind == "RCU" else fleets.matrix_import
        found = cell(budget, size, processes, seconds, planned=False)
        worst, least = max(worst, found.worst), min(least, found.used, found.slope)
        shares = map(percent, (found.worst, found.used, found.slope))
        rows.append([f"{budget:,} {kind}/s", _size(size), str(processes), *shares])
    head = ["budget", "items", "processes", "worst window", "used, mean", "used, slope"]
    told = f"Worst window {percent(worst)} of the budget, least use {percent(least)}, in {len(rows)} runs.\n\n"
    return told + table(head, rows)


def _cells(quick: bool) -> Iterator[tuple[str, int, int, int]]:
    """Kind of unit, budget, item size and processes."""
    for kind, budgets in (("RCU", (5, 100, 1_000, 20_000, 200_000)), ("WCU", (5, 100, 1_000, 20_000))):
        for budget in budgets:
            for size in (50, 4 * KB, 400 * KB):
                for processes in (1, 4, 16):
                    if not quick or (budget != 100 and size != 4 * KB and processes != 4 and budget < 200_000):
                        yield kind, budget, size, processes


def _request(kind: str, share: float, size: int) -> float:
    """About the most that one request costs."""
    item, whole = (write_units(size), 25 * write_units(size)) if kind == "WCU" else (max(size / 8_192, 0.5), PAGE)
    return max(min(whole, share), item)


def against_peers(quick: bool) -> str:
    """The same table, budget and processes; one segment in four is larger, so that some processes run dry."""
    from benchmarks.capacity import peers  # noqa: PLC0415 - needs aiolimiter

    budget, processes, lanes, size = 2_000.0, 4, 8, 4 * KB
    counts = [3_000 if number % processes == 0 else 600 for number in range(16 if quick else 64)]
    rows = []
    for kind in (*peers.names(), "ddbio"):
        if kind == "ddbio":
            job = exporting(budget, counts, size, processes)
            run(job)
            account = job.table.account
        else:
            subject = SizedTable(counts, size)
            peers.run_peer(kind, subject, budget, processes, lanes)
            account = subject.account
        found = judge(account, "read", budget, processes)
        window = {seconds: account.max_window("read", seconds) / (budget * seconds) for seconds in (1.0, 5.0)}
        rows.append(
            [
                kind,
                percent(window[1.0]),
                percent(window[5.0]),
                percent(found.ideal / found.seconds),
                f"{found.seconds:.1f} s",
            ]
        )
    head = ["", "most in 1 s", "most in 5 s", "used in the mean", f"time (ideal {found.ideal:.1f} s)"]
    return table(head, rows)


def skewed_export(quick: bool) -> str:
    """70% of the table in one item collection, and so in one segment, whose partition bears 3,000 units a second."""
    rows = []
    limits = Limits(read=PLENTY, write=PLENTY, partitions=64, partition_read=PARTITION)
    for budget, processes in product((2_000.0, 5_000.0, 6_000.0, 12_000.0, 40_000.0), (1, 4)):
        units = budget * (10 if quick else 30)
        counts = counts_for(units, KB, 64, heavy=0.7)
        job = exporting(budget, counts, KB, processes, limits=limits, collections=[0])
        job.job = export_job(len(counts), concurrency=16)
        seconds = run(job)
        whole, heavy = sum(counts) * KB / 8_192, counts[0] * KB / 8_192
        ideal = max(heavy / PARTITION, whole / budget)
        first = job.table.account.per_second("read")[:2]
        rows.append(
            [
                f"{budget:,.0f} RCU/s",
                str(processes),
                f"{seconds:.1f} s",
                f"{ideal:.1f} s",
                percent(seconds / ideal - 1),
                percent(sum(second.units for second in first) / (2 * budget)),
            ]
        )
    head = ["budget", "-p", "time", "the partition's own limit", "longer", "of the budget used in the first 2 s"]
    return table(head, rows)


def governed(quick: bool) -> str:
    """What a permit costs in CPU time: acquired, and settled for less than was estimated."""
    count = 50_000 if quick else 200_000

    def estimate() -> float:
        return 25

    async def pairs() -> float:
        governor = Governor(1e12, LoopClock())
        began = time.process_time()
        for _ in range(count):
            (await governor.acquire(estimate)).settle(24)
        return count / (time.process_time() - began)

    best = max(asyncio.run(pairs()) for _ in range(5))
    return table(["acquire and settle"], [[f"{best:,.0f} a CPU second"]])


def skewed_import(quick: bool) -> str:
    """A dump in the order of the table's partitions, 8 of 100 units a second each."""
    limits = Limits(read=PLENTY, write=PLENTY, partitions=8, partition_write=100)
    count, budget = (6_000 if quick else 20_000), 600.0
    rows = []
    with TemporaryDirectory() as folder:
        path = Path(folder) / "dump.json"
        write_dump(path, _by_partition(count, limits), 200)
        size = path.stat().st_size
        for how, length, processes in (("in order", size, 1), ("ddbio", size // 64, 2)):
            units = spans_of(path, length)
            rejects = Path(folder) / f"rejects-{how}.jsonl"
            job = Fleet(
                import_job(path, concurrency=16), SizedTable((), 1, limits), units, budget, processes, rejects=rejects
            )
            seconds = run(job)
            throttles = sum(usage.throttles for usage in job.coordinator.usages)
            requests = sum(usage.requests for usage in job.coordinator.usages)
            rows.append([how, f"{seconds:.1f} s", f"{count / seconds:,.0f} WCU/s", f"{throttles:,} of {requests:,}"])
    return table(["", f"time (ideal {count / budget:.1f} s)", "rate", "throttled requests"], rows)


def adapting(quick: bool) -> str:
    """`-c auto` on a table whose capacity changes in the middle."""
    length = 100.0 if quick else 150.0
    steps = [(0.0, 3_000.0), (length, 1_000.0), (2 * length, 4_000.0)]
    counts = counts_for(length * 7_500, 256, 64)
    job = exporting(1_500, counts, 256, 4, auto=True, limits=_bearing(steps[0][1]))
    subject = job.table
    assert isinstance(subject, SizedTable)

    def change(capacity: float) -> Callable[[Fleet], None]:
        return lambda _: subject.change(_bearing(capacity))

    run(job, [(at, change(capacity)) for at, capacity in steps[1:]])
    served = [float(second.units) for second in subject.account.per_second("read")]
    budgets = [(event.seconds, event.budget or 0.0) for event in job.events if isinstance(event, Progress)]
    rows = []
    for at, capacity in steps:
        settled = served[int(at + length * 0.75) : int(at + length) - 1]
        rates = [rate for seconds, rate in budgets if at + length * 0.75 <= seconds < at + length - 1]
        throttled = [1 for when, _ in subject.throttled if at <= when < at + length]
        rows.append(
            [
                f"{capacity:,.0f}",
                percent(sum(settled) / len(settled) / capacity),
                f"{min(rates):,.0f} to {max(rates):,.0f}",
                percent(1 - min(rates) / max(rates)),
                f"{len(throttled):,}",
            ]
        )
    bears = [(0.0, steps[0][1]), (length, steps[0][1]), (length, steps[1][1]), (2 * length, steps[1][1])]
    bears += [(2 * length, steps[2][1]), (3 * length, steps[2][1])]
    smooth = [(float(at), sum(served[at : at + 5]) / 5) for at in range(0, int(3 * length) - 5, 2)]
    lines = {"the table bears": bears, "the budget": budgets, "served": smooth}
    if not quick:
        _write("auto.svg", plot("-c auto, and a table that changes", lines, "RCU/s"))
    head = ["the table bears", "used, settled", "budget, settled", "swing", "throttled requests"]
    return table(head, rows) + "\n![](auto.svg)\n"


def changing(quick: bool) -> str:
    """A budget that is changed while the job runs."""
    steps = [(0.0, 2_000.0), (20.0, 500.0), (40.0, 4_000.0)]
    job = exporting(2_000, counts_for(130_000, 4 * KB, 128), 4 * KB, 4)

    def change(rate: float) -> Callable[[Fleet], None]:
        return lambda one: one.coordinator.budget.set(Pace(rate))

    run(job, [(at, change(rate)) for at, rate in steps[1:]])
    events = job.table.account.events["read"]
    rows = []
    for at, rate in steps:
        served = sum(event.units for event in events if at + 2 <= event.at < at + 20)
        rows.append([f"{rate:,.0f}", percent(served / (18 * rate))])
    served_by_second = [float(second.units) for second in job.table.account.per_second("read")]
    lines = {
        "the budget": [(0.0, 2_000.0), (20, 2_000), (20, 500), (40, 500), (40, 4_000), (60, 4_000)],
        "served": [(at + 0.5, units) for at, units in enumerate(served_by_second[:60])],
    }
    if not quick:
        _write("change.svg", plot("A budget that is changed while the job runs", lines, "RCU/s"))
    return table(["budget", "used, from 2 s after the change on"], rows) + "\n![](change.svg)\n"


def processes(quick: bool) -> str:
    """The command itself."""
    rows = []
    exports: list[tuple[str, int, str, int]] = [("400", 25, "small", 2), ("600", 40, "large", 3)]
    imports: list[tuple[str, int, int, int]] = [("400", 5_000, 60, 2), ("500", 30, 200 * KB, 2)]
    for budget, megabytes, shape, count in exports[:1] if quick else exports:
        found = real.export(budget, megabytes, shape, count, 100_000)
        rows.append(_row(f"export, {shape} items", float(budget), count, found, "read", PAGE))
    for budget, items, size, count in [("400", 3_000, 60, 2)] if quick else imports:
        found = real.import_(budget, items, size, count, 100_000)
        request = _request("WCU", float(budget) / count, size)
        rows.append(_row(f"import, {_size(size)}", float(budget), count, found, "write", request))
    head = ["", "budget", "-p", "worst 5 s", "used", "throttled"]
    found = real.export("auto:1000", 30 if quick else 100, "small", 2, 500)
    told = found["done"]["read"]
    rows.append(
        [
            "export, auto, of a table that bears 500",
            "auto",
            "2",
            percent(told["max_window"][str(real.WINDOW)] / (500 * real.WINDOW)) + " of 500",
            percent(told["mean"] / 500) + " of 500",
            f"{found['report']['throttles']:,} of {found['report']['requests']:,}",
        ]
    )
    return table(head, rows)


def _row(what: str, budget: float, count: int, found: dict[str, Any], kind: str, request: float) -> list[str]:
    told = found["done"][kind]
    worst = (told["max_window"][str(real.WINDOW)] - count * request) / (budget * real.WINDOW)
    throttles = found["report"]["throttles"]
    return [what, f"{budget:,.0f}", str(count), percent(max(worst, 0)), percent(told["mean"] / budget), str(throttles)]


def _bearing(capacity: float) -> Limits:
    return Limits(read=capacity, write=1, partition_read=PLENTY)


def _by_partition(count: int, limits: Limits) -> list[str]:
    """Keys in the order of their partitions, as a scan would give them."""
    from tests.kit.faults.capacity import Capacity  # noqa: PLC0415

    partition = Capacity(limits)._partition
    return sorted((f"key {number:09d}" for number in range(count)), key=lambda key: partition({"S": key}))


def _size(count: int) -> str:
    return f"{count // KB} KB" if count >= KB else f"{count} B"


def _write(name: str, text: str) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / name).write_text(text)


SECTIONS: dict[str, tuple[str, Callable[[bool], str]]] = {
    "matrix": (
        "Kept and used, on virtual time. The worst window of 1, 2 or 5 s or half the run, one request per process "
        "taken off. So many processes do run; ddbio would start fewer where each has less than a request a second.",
        matrix,
    ),
    "governor": ("The governor alone: permits, the best of five rounds.", governed),
    "peers": ("Against other limiters: 4 processes with 8 lanes, 2,000 RCU/s, work that is not even.", against_peers),
    "skew-export": ("70% of the table in one item collection, and so in one segment.", skewed_export),
    "skew-import": ("A dump in the order of the table's partitions, which bear 100 WCU/s each.", skewed_import),
    "auto": ("`-c auto`, and a table whose capacity changes.", adapting),
    "change": ("A budget that is changed while the job runs.", changing),
    "processes": ("The command itself, real time, as the fault proxy counts.", processes),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the sections that are asked for, all by default. Each is printed and, unless quick, written to results/."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller, in under 90 s")
    parser.add_argument("--only", choices=SECTIONS, action="append")
    options = parser.parse_args(arguments)
    for name in options.only or SECTIONS:
        title, measure = SECTIONS[name]
        began = time.perf_counter()
        text = f"## {title}\n\n{measure(options.quick)}"
        print(text, f"({time.perf_counter() - began:.0f} s, load {os.getloadavg()[0]:.1f})\n", flush=True)
        if not options.quick:
            _write(f"{name}.md", text)


if __name__ == "__main__":
    main()
