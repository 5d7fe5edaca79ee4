"""Numbers formatted for people, and the lines built from them."""

from __future__ import annotations

from collections import deque

from ddbio.events import CheckPlanned, JobPlanned, Progress, RecordsRejected
from ddbio.report import JobReport, Rejection, Spending, VerifyReport
from ddbio.words import count

RECENT_SECONDS = 5.0
"""Rates are averages over this most recent period."""
NOTHING = Progress(seconds=0, items=0, bytes=0, units=0, throttles=0, rejected=0, splits_done=0)


def size(number: float) -> str:
    """Format a number of bytes in decimal units: `34.6 MB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(number) < 1_000:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1_000
    return f"{number:.1f} TB"


def duration(seconds: float) -> str:
    """Format a duration: `12.3 s`, `7 min 5 s`, `3 h 20 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def plan_line(plan: JobPlanned) -> str:
    """Format the opening line: what is about to be done, with which budget."""
    arrow = {"export": "to", "import": "from"}.get(plan.command, "against")
    parts = [f"{plan.command} of {plan.table} {arrow} {plan.location}: account {plan.account}, {plan.region}"]
    if plan.table_items is not None and plan.table_bytes is not None:
        parts.append(f"table of about {count(plan.table_items, 'item')} ({size(plan.table_bytes)})")
    if plan.source_bytes is not None:
        parts.append(f"{size(plan.source_bytes)} to read")
    parts.append(f"{'starting at' if plan.adaptive else 'at most'} {_rate(plan.budget)} {_unit(plan)}/s")
    parts.append(f"{count(plan.processes, 'process', 'processes')}, {_splits(plan)}")
    if plan.items_done:
        parts.append(f"{count(plan.items_done, 'item')} already done")
    parts.append(_expected(plan))
    return ", ".join(parts)


def check_line(plan: CheckPlanned) -> str:
    """Format the opening line of a check of an export's files."""
    return (
        f"verify of {plan.location}: export of {plan.table}, {count(plan.files, 'file')} ({size(plan.bytes)}) to read"
    )


def _expected(plan: JobPlanned) -> str:
    if plan.expected_seconds is None:
        return "time unknown"
    # Writing an item costs at least one unit, however small the item is.
    estimate = f"{'at least' if plan.command == 'import' else 'about'} {duration(plan.expected_seconds)}"
    return f"{estimate} left" if plan.items_done else estimate


def summary(report: JobReport, *, earlier: bool = False) -> list[str]:
    """Summarize a finished job in a few lines; `earlier` says that a previous run had finished it."""
    done, unit, arrow = ("Exported", "read", "from") if report.command == "export" else ("Imported", "write", "into")
    used = report.used
    rate = report.items / used.seconds if used.seconds else 0.0
    memory = "" if earlier else f", {size(report.peak_rss_bytes)} of memory"
    lines = [
        f"{done}{' earlier:' if earlier else ''} {count(report.items, 'item')} ({size(report.bytes)}, "
        f"{count(report.files, 'file')}) {arrow} {report.table} in {duration(used.seconds)}: {rate:,.0f} items/s.",
        f"Used {used.capacity_units:,.1f} {unit} units in {_effort(used)}{memory}.",
    ]
    if report.manifest:
        lines.append(f"Manifest: {report.manifest}")
    return lines


def rejected_line(number: int, location: str | None) -> str:
    """Say how many records were rejected, and where they are."""
    return f"{count(number, 'record was', 'records were')} rejected; see {location}"


def rejects_lines(rejected: RecordsRejected) -> list[str]:
    """The same, followed by one line per reason with an example, the most frequent reason first."""
    by_count = sorted(rejected.reasons.items(), key=lambda each: -each[1].count)
    return [rejected_line(rejected.count, rejected.location), *(_reason_line(*each) for each in by_count)]


def _reason_line(reason: str, found: Rejection) -> str:
    position = f"byte {found.offset:,}" if found.line is None else f"line {found.line:,}"
    return f"{reason}: {count(found.count, 'record')}, for example {position} of {found.source}: {found.message}"


class JobTracker:
    """The state of a job according to its latest events."""

    def __init__(self, plan: JobPlanned) -> None:
        self.plan = plan
        self._begun = NOTHING
        self._budget = plan.budget
        self._recent: deque[Progress] = deque()
        self._paused_seconds = 0.0

    def add(self, progress: Progress) -> None:
        """Add the next event; an event at 0 seconds holds what previous runs of the job have done."""
        if not progress.seconds:
            self._begun = progress
        elif progress.budget == 0 and self._recent:
            self._paused_seconds += progress.seconds - self._recent[-1].seconds
        self._recent.append(progress)
        self._budget = progress.budget or self._budget  # there is no budget during a pause
        while progress.seconds - self._recent[0].seconds > RECENT_SECONDS and len(self._recent) > 2:
            self._recent.popleft()

    def done(self) -> float:
        """Return the fraction of the work that is done, 0 to 1, by the most advanced of several measures.

        The size in the table's description is up to six hours old, a filter hides items, emulators do not count units,
        and a compressed source is larger than its files, so each measure alone may lag or overshoot.
        """
        return self._done(self._recent[-1])

    def _done(self, progress: Progress) -> float:
        if progress.splits_done >= self.plan.splits:
            return 1.0
        shares = [progress.splits_done / self.plan.splits]
        if self.plan.command != "import":
            if self.plan.table_items:
                shares.append(progress.items / self.plan.table_items)
            if self.plan.expected_seconds:
                left = self.plan.expected_seconds * self.plan.budget
                shares.append(progress.units / (self._begun.units + left))
        elif self.plan.source_bytes:
            shares.append(progress.bytes / self.plan.source_bytes)
        return min(max(shares), 0.99)

    def line(self) -> str:
        """Format the progress line, most important figures first since a narrow terminal cuts it off."""
        first, last = self._recent[0], self._recent[-1]
        if first is last:
            first = self._begun
        elapsed = last.seconds - first.seconds or 1.0
        byte_rate, unit_rate = (last.bytes - first.bytes) / elapsed, (last.units - first.units) / elapsed
        parts = [count(last.items, "item"), f"{unit_rate:,.0f} of {_rate(self._budget)} {_unit(self.plan)}/s"]
        if last.reason:
            parts.append(last.reason)
        done, before = self.done(), self._done(self._begun)
        if before < done < 1 and last.budget != 0:
            worked = last.seconds - self._paused_seconds
            parts.append(f"{duration(worked / (done - before) * (1 - done))} left")
        if last.throttles:
            parts.append(f"{last.throttles:,} throttled")
        if last.rejected:
            parts.append(f"{last.rejected:,} rejected")
        return " · ".join([*parts, f"{last.splits_done:,} of {_splits(self.plan)}", f"{byte_rate / 1e6:.1f} MB/s"])


class CheckTracker:
    """The state of a check of an export's files."""

    def __init__(self, plan: CheckPlanned) -> None:
        self.plan = plan
        self._last = NOTHING

    def add(self, progress: Progress) -> None:
        self._last = progress

    def done(self) -> float:
        """Return the fraction of the bytes that has been read, 0 to 1."""
        return min(self._last.bytes / self.plan.bytes, 1.0) if self.plan.bytes else 1.0

    def line(self) -> str:
        read, plan = self._last, self.plan
        files = f"{read.splits_done:,} of {count(plan.files, 'file')}"
        return f"{count(read.items, 'item')} · {size(read.bytes)} of {size(plan.bytes)} · {files}"


def verdict(report: VerifyReport) -> list[str]:
    """Summarize a verification in a few lines."""
    lines = [
        f"Checked {count(report.items, 'item')} ({size(report.bytes)}, {count(report.files, 'file')}) in "
        f"{report.source} in {duration(report.used.seconds)}: {count(len(report.problems), 'problem')}."
    ]
    if report.table is not None:
        lines += [
            f"Compared them with {count(report.scanned, 'item')} of {report.table}: {report.missing:,} missing, "
            f"{report.extra:,} extra, {report.different:,} different; {report.repaired:,} repaired.",
            f"Used {report.read_units:,.1f} read and {report.write_units:,.1f} write units in {_effort(report.used)}, "
            f"{size(report.peak_rss_bytes)} of memory.",
        ]
    return lines


def _effort(used: Spending) -> str:
    return (
        f"{count(used.requests, 'request')}, {used.throttles:,} throttled, {used.retries:,} retried; "
        f"{duration(used.cpu_seconds)} of CPU"
    )


def _rate(units: float) -> str:
    return f"{units:,.0f}" if units >= 10 else f"{units:.2g}"


def _unit(plan: JobPlanned) -> str:
    return "WCU" if plan.command == "import" else "RCU"


def _splits(plan: JobPlanned) -> str:
    return count(plan.splits, "span" if plan.command == "import" else "segment")
