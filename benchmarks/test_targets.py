"""The targets of benchmarks/, held against what a run measures."""

from __future__ import annotations

from typing import Any

from benchmarks.cases import all_cases, quick_cases
from benchmarks.cpu import Figure
from benchmarks.lag import JOBS
from benchmarks.report import page
from benchmarks.targets import TARGETS

AMOUNT = 100


def results() -> dict[str, Any]:
    """What a whole run measures, every case having taken two seconds."""
    startup = [{"command": name, "seconds": 0.2, "cpu_seconds": 0.9} for name in ("ddbio --help", "ddbio export -p 1")]
    longest = [{"milliseconds": 4.0, "callback": "f"}]
    lag = {"callbacks": 9, "over_5_ms": 0, "longest": longest, "longest_collection_milliseconds": 9.0}
    codec = {"codec": "native", "shape": "small", "format": "jsonl"}
    peaks = {"command_bytes": 1e8, "worker_bytes": 1e8, "seconds": 1.0}
    return {
        "runs": [{"command": "python -m benchmarks", "machine": "one"}],
        "cpu": [Figure(case, AMOUNT, (1.0, 2.0, 9.0)).as_dict() for case in all_cases()],
        "startup": startup,
        "lag": [{"job": job, **lag} for job, _, _ in JOBS],
        "codec": [{**codec, "page_gb_per_second": 2.5, "puts_thousands_per_second": 1499.0}],
        "memory": [
            {"kind": "export-folder", "processes": 2, "megabytes": size, "together_bytes": together, **peaks}
            for size, together in ((200, 1e8), (20_000, 1.05e8))
        ],
    }


def test_a_whole_run_measures_every_target() -> None:
    rows = {row["figure"]: row for row in (target.row(results()) for target in TARGETS)}
    assert [figure for figure, row in rows.items() if row["measured"] is None] == []
    assert rows["codec alone, page to jsonl, small items"]["met"] is True
    assert rows["codec alone, record to put, small items"]["met"] is False
    assert rows["memory, largest against smallest table"]["measured"] == "5.00 % more"


def test_a_figure_is_the_median_of_its_rounds() -> None:
    (row,) = (row for row in results()["cpu"] if row["name"] == "export S3 small jsonl gzip: ddbio")
    assert (row["cpu_seconds"], row["per_cpu_second"]) == (2.0, AMOUNT / 2)


def test_the_page_tells_of_every_case_and_of_what_is_missing() -> None:
    told = results()
    told["targets"] = [target.row({}) for target in TARGETS]
    text = page(told)
    assert all(row["name"].partition(" ")[2] in text for row in told["cpu"])
    assert text.count("not in this run") == len(TARGETS)


def test_quick_cases_are_part_of_all() -> None:
    assert set(quick_cases()) <= set(all_cases())
    assert len(set(all_cases())) == len(all_cases())
