"""What is said of a run: how far it went over its budget, and how much of it it used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.kit.servers.account import Account, Kind

WINDOWS = (1.0, 2.0, 5.0)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`worst`: the most in any window of 1, 2 or 5 s, or of half the run, one request per process taken off, as a share
    of the budget. `used`: the mean as long as there was work for all, as a share of the budget; `slope`: that of what
    was served, in which the first request of each process, which waits for nothing, hardly counts. `seconds`: how long
    it took, and `ideal` how long it would have at exactly the budget.
    """

    worst: float
    used: float
    slope: float
    seconds: float
    ideal: float


def judge(account: Account, kind: Kind, budget: float, processes: int, busy_until: float | None = None) -> Verdict:
    """Judge by the server's own account; `busy_until` is when work began to run out."""
    events = account.events[kind]
    first, last = events[0].at, events[-1].at
    until = last if busy_until is None else max(busy_until, first + 1)
    largest = max(event.units for event in events)
    over = [
        (account.max_window(kind, seconds) - processes * largest) / (budget * seconds)
        for seconds in sorted({*WINDOWS, (last - first) / 2})
        if 1 <= seconds <= last - first
    ]
    served = sum(event.units for event in events if event.at < until)
    return Verdict(
        worst=max(0.0, *over),
        used=served / (budget * (until - first)) if until > first else 1.0,
        slope=account.steady(kind, until) / budget,
        seconds=last - first,
        ideal=sum(event.units for event in events) / budget,
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def percent(share: float) -> str:
    """A share as people read it."""
    return f"{100 * share:.1f}%"
