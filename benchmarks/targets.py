"""What ddbio is to reach, beside what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Results = Mapping[str, Any]
Row = Mapping[str, Any]


class NotMeasuredError(Exception):
    """The run did not measure what a figure is made of."""


Measure = Callable[[Results], float]


class Target(NamedTuple):
    """A figure and its bound; `measure` raises NotMeasuredError."""

    figure: str
    unit: str
    measure: Measure
    at_least: float | None = None
    at_most: float | None = None

    def row(self, results: Results) -> dict[str, Any]:
        """Plain values; `measured` and `met` are None where what it takes was not measured."""
        try:
            measured: float | None = self.measure(results)
        except NotMeasuredError:
            measured = None
        return {
            "figure": self.figure,
            "target": f"≥ {self.at_least:,g} {self.unit}" if self.at_least else f"≤ {self.at_most:,g} {self.unit}",
            "measured": None if measured is None else f"{measured:,.{_digits(measured)}f} {self.unit}",
            "met": None if measured is None else self._met(measured),
        }

    def _met(self, measured: float) -> bool:
        return measured >= self.at_least if self.at_least is not None else measured <= (self.at_most or 0)


def _digits(value: float) -> int:
    return 0 if value >= 100 else 1 if value >= 10 else 2


def _find(results: Results, section: str, **values: object) -> Row:
    """The row of a section that has these values."""
    for row in results.get(section, ()):
        if all(row[name] == value for name, value in values.items()):
            found: Row = row
            return found
    raise NotMeasuredError


def _rate(name: str) -> Measure:
    return lambda results: float(_find(results, "cpu", name=name)["per_cpu_second"])


def _ratio(name: str, other: str, scale: float = 1) -> Measure:
    return lambda results: scale * _rate(name)(results) / _rate(other)(results)


def _two_processes(name: str) -> Measure:
    """By how many percent an item costs more with two processes than with one."""
    return lambda results: _ratio(f"{name}: ddbio", f"{name} 2 processes: ddbio", 100)(results) - 100


def _gzip(results: Results) -> float:
    row = _find(results, "cpu", name=f"{EXPORT} gzip: ddbio")
    return float(row["output_bytes"] / row["cpu_seconds"] / 1e6)


def _codec(field: str) -> Measure:
    return lambda results: float(_find(results, "codec", codec="native", shape="small", format="jsonl")[field])


def _startup(command: str, field: str) -> Measure:
    return lambda results: float(_find(results, "startup", command=command)[field])


def _lag(job: str) -> Measure:
    return lambda results: float(_find(results, "lag", job=job)["longest"][0]["milliseconds"])


def _growth(results: Results) -> float:
    rows = [row for row in results.get("memory", ()) if (row["kind"], row["processes"]) == ("export-folder", 2)]
    sizes = {row["megabytes"]: row["together_bytes"] for row in rows}
    if len(sizes) < 2:
        raise NotMeasuredError
    return float(100 * (sizes[max(sizes)] / sizes[min(sizes)] - 1))


EXPORT = "export folder small jsonl"
IMPORT = "import file small jsonl"

TARGETS = (
    Target("export to a folder, jsonl, TLS, small items", "pages per CPU second", _rate(f"{EXPORT}: ddbio"), 450),
    Target("the same, of the aioboto3 loop", "×", _ratio(f"{EXPORT}: ddbio", f"{EXPORT}: aioboto3"), 45),
    Target("the same, of the floor", "%", _ratio(f"{EXPORT}: ddbio", f"{EXPORT}: floor", 100), 45),
    Target("export to S3, jsonl", "pages per CPU second", _rate("export S3 small jsonl: ddbio"), 330),
    Target(
        "export of nested items, of the boto3 resource loop",
        "×",
        _ratio("export folder nested jsonl: ddbio", "export folder nested jsonl: boto3 resource"),
        60,
    ),
    Target("import from a file, jsonl, TLS, small items", "items per CPU second", _rate(f"{IMPORT}: ddbio"), 170_000),
    Target("the same, of the aioboto3 loop", "×", _ratio(f"{IMPORT}: ddbio", f"{IMPORT}: aioboto3"), 7),
    Target("the same, of aiodynamo", "×", _ratio(f"{IMPORT}: ddbio", f"{IMPORT}: aiodynamo"), 1.3),
    Target("the same, of the floor", "%", _ratio(f"{IMPORT}: ddbio", f"{IMPORT}: floor", 100), 70),
    Target("codec alone, page to jsonl, small items", "GB/s", _codec("page_gb_per_second"), 2),
    Target("codec alone, record to put, small items", "thousand items/s", _codec("puts_thousands_per_second"), 1_500),
    Target("gzip export, output before compression", "MB per CPU second", _gzip, 200),
    *(
        Target(f"longest callback on the loop, {job}", "ms", _lag(job), at_most=5)
        for job in ("export", "export nested", "export gzip", "import", "import large")
    ),
    Target("memory, largest against smallest table", "% more", _growth, at_most=10),
    Target("export by two processes, an item", "% more CPU than by one", _two_processes(EXPORT), at_most=10),
    Target("import by two processes, an item", "% more CPU than by one", _two_processes(IMPORT), at_most=10),
    Target("ddbio --help", "s", _startup("ddbio --help", "seconds"), at_most=0.25),
    Target("ddbio export -p 1 of an empty table", "s of CPU", _startup("ddbio export -p 1", "cpu_seconds"), at_most=1),
)
