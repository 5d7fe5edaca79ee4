"""CPU time of whole jobs: of the process tree, less that of an empty run, the median of interleaved pairs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.cases import Amounts, Case, prepared
from benchmarks.setting import Setting


@dataclass(frozen=True)
class Figure:
    """What a case took: CPU seconds of each round, an empty run's already taken off."""

    case: Case
    amount: int
    cpu: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """The median."""
        return median(self.cpu)

    @property
    def rate(self) -> float:
        """Pages (export) or items (import) per CPU second."""
        return self.amount / self.seconds

    @property
    def spread(self) -> float:
        """Between the cheapest and the dearest round, as a share of the median."""
        return (max(self.cpu) - min(self.cpu)) / self.seconds

    def as_dict(self) -> dict[str, Any]:
        """Plain values: the case, what was measured, what follows from it."""
        return {
            "name": self.case.name,
            **asdict(self.case),
            "amount": self.amount,
            "rounds_cpu_seconds": [round(cpu, 3) for cpu in self.cpu],
            "output_bytes": self.case.output_bytes(self.amount),
            "cpu_seconds": round(self.seconds, 3),
            "cpu_seconds_per_gb": round(self.seconds / self.case.table_bytes(self.amount) * 1e9, 3),
            "cpu_seconds_per_million_items": round(self.seconds / self.case.items(self.amount) * 1e6, 3),
            "per_cpu_second": round(self.rate, 1),
            "spread": round(self.spread, 3),
        }


def measure(cases: Sequence[Case], amounts: Amounts, rounds: int, setting: Setting) -> list[Figure]:
    """All cases, round after round, each run after an empty one."""
    taken: dict[Case, list[float]] = {case: [] for case in cases}
    for number in range(rounds):
        for case in cases:
            cpu = -_cpu(case, 0, setting) + _cpu(case, case.amount(amounts), setting)
            taken[case].append(cpu)
            print(f"{number + 1}/{rounds} {case.name}: {cpu:.2f} s", file=sys.stderr, flush=True)
    return [Figure(case, case.amount(amounts), tuple(taken[case])) for case in cases]


def _cpu(case: Case, amount: int, setting: Setting) -> float:
    """CPU seconds of one run, once the server agrees that everything was moved."""
    before = setting.wire.counts()
    with TemporaryDirectory(dir=setting.folder) as name, prepared(case, amount, setting.wire, Path(name)) as ready:
        outcome = setting.run(ready.command, ready.environment)
    after = setting.wire.counts()
    counted = "items" if case.direction == "export" else "puts"
    if after[counted] - before[counted] != case.items(amount):
        raise SystemExit(f"{case.name}: {after[counted] - before[counted]} items, not {case.items(amount)}")
    return outcome.cpu
