"""What ddbio costs, beside what people would use instead and beside the least that is possible.

    python -m benchmarks           everything, into benchmarks/results/
    python -m benchmarks --quick   the figures that matter most, printed, in one or two minutes

Prints the table as Markdown and writes it, as JSON too, with a plot. Progress goes to standard error.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import codec, cpu, lag, memory, plot, report, startup, whole
from benchmarks.cases import Amounts, all_cases, quick_cases
from benchmarks.machine import described
from benchmarks.setting import Setting, set_up
from benchmarks.targets import TARGETS

RESULTS = Path(__file__).parent / "results"
AMOUNTS = Amounts(pages=1000, items=500_000, peer_pages=12, peer_items=20_000)
QUICK_AMOUNTS = Amounts(pages=300, items=100_000, peer_pages=4, peer_items=7_500)
Rows = list[dict[str, Any]]


def measure_cpu(setting: Setting, options: argparse.Namespace) -> Rows:
    """Whole jobs of every tool."""
    cases = [case for case in (quick_cases if options.quick else all_cases)() if options.cases in case.name]
    amounts = (QUICK_AMOUNTS if options.quick else AMOUNTS).scaled(options.scale)
    return [figure.as_dict() for figure in cpu.measure(cases, amounts, options.rounds, setting)]


def measure_memory(setting: Setting, options: argparse.Namespace) -> Rows:
    """Exports of growing tables by two processes, and of one of them by others; every lane is there from the start."""
    kind, more = "export-folder", ("--concurrency", "8")
    rows = list(memory.measure(setting, {kind: options.sizes}, more=more))
    for processes in (1, 4):
        rows += memory.measure(setting, {kind: options.sizes[:2][-1:]}, processes=processes, more=more)
    return [row.as_dict() for row in rows]


SECTIONS: dict[str, Callable[[Setting, argparse.Namespace], Rows]] = {
    "cpu": measure_cpu,
    "startup": lambda setting, options: startup.measure(options.rounds + 2, setting),
    "lag": lambda setting, options: list(lag.measure(setting, 50 if options.quick else 300)),
    "codec": lambda _, options: codec.measure_all(0.05 if options.quick else 1.0, slow=not options.quick),
    "memory": measure_memory,
    "whole": lambda setting, _: list(whole.measure(setting, 100_000)),
}
QUICK_SECTIONS = ["cpu", "startup", "lag", "codec"]


def arguments() -> argparse.Namespace:
    """The command line's."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=SECTIONS, nargs="+", help="some sections")
    parser.add_argument("--cases", default="", metavar="TEXT", help="only jobs whose name contains this")
    parser.add_argument("--rounds", type=int, help="default: 3, quick 1")
    parser.add_argument("--scale", type=float, default=1, metavar="X", help="move so many times as much in each job")
    parser.add_argument("--sizes", type=int, nargs="+", default=[200, 2000, 20_000], metavar="MB", help="for memory")
    parser.add_argument(
        "--out", type=Path, help="where a quick or a partial run writes, beside what lies there; else it only prints"
    )
    parser.add_argument("--folder", help="where files are written meanwhile: up to 25 GB; default: the system's")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.whole = not (options.quick or options.cases or options.only)
    if options.whole:
        options.out = options.out or RESULTS
    options.only = options.only or (QUICK_SECTIONS if options.quick else list(SECTIONS))
    return options


def main() -> None:
    """Measure, print, write."""
    options = arguments()
    results = read(options.out) if options.out is not None and not options.whole else {"runs": []}
    command = f"python -m benchmarks {shlex.join(sys.argv[1:])}".strip()
    results["runs"].append({"command": command, **described(), "measured": " ".join(options.only)})
    with set_up(options.folder) as setting:
        for name in options.only:
            print(f"-- {name}", file=sys.stderr, flush=True)
            results[name] = _beside(results.get(name, []), SECTIONS[name](setting, options))
            results["targets"] = [target.row(results) for target in TARGETS]
            if options.out is not None:
                write(results, options.out)
    print(report.page(results))


def read(folder: Path) -> dict[str, Any]:
    """What an earlier run has written there, so that one of some sections leaves the others as they are."""
    file = folder / "table.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"runs": []}
    return found


def _beside(rows: Rows, newer: Rows) -> Rows:
    """Jobs have names, and one that was not run now stays as it is; of other sections all rows are new."""
    if not all("name" in row for row in newer):
        return newer
    fresh = {row["name"]: row for row in newer}
    return [fresh.pop(row["name"], row) for row in rows] + list(fresh.values())


def write(results: dict[str, Any], folder: Path) -> None:
    """Keep what there is so far: the next section may fail."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "table.md").write_text(report.page(results))
    if results.get("cpu"):
        plot.write(results, folder / "table.png")


if __name__ == "__main__":
    main()
