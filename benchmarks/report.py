"""Results as Markdown, a table for every section."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks import memory

MARKS = {True: "yes", False: "**no**", None: ""}


def page(results: Mapping[str, Any]) -> str:
    """The whole page."""
    return "\n".join(_lines(results)) + "\n"


def _lines(results: Mapping[str, Any]) -> Iterator[str]:
    yield "# What ddbio costs\n"
    for run in results["runs"]:
        yield f"`{run['command']}`\n"
        yield from (f"- {name}: {value}" for name, value in run.items() if name != "command")
        yield ""
    yield "## Targets\n"
    rows = results["targets"]
    yield from _table(
        ("figure", "target", "measured", "met"),
        ((row["figure"], row["target"], row["measured"] or "not in this run", MARKS[row["met"]]) for row in rows),
    )
    for name, write in SECTIONS.items():
        if rows := results.get(name):
            yield from write(rows)


def _cpu(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "\n## CPU time of whole jobs\n"
    yield "Of the whole process tree, less that of an empty run: medians of interleaved pairs. Spread: dearest less"
    yield "cheapest round, of the median."
    for direction, unit in (("export", "pages"), ("import", "items")):
        if not any(row["direction"] == direction for row in rows):
            continue
        yield ""
        yield from _table(
            (direction, f"{unit} / CPU s", "CPU s / GB of table", "CPU s / million items", "rounds", "spread"),
            (
                (
                    row["name"].partition(" ")[2],
                    f"{row['per_cpu_second']:,.1f}",
                    f"{row['cpu_seconds_per_gb']:.2f}",
                    f"{row['cpu_seconds_per_million_items']:.2f}",
                    str(len(row["rounds_cpu_seconds"])),
                    f"{row['spread']:.0%}",
                )
                for row in rows
                if row["direction"] == direction
            ),
        )


def _startup(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "\n## Start\n"
    yield from _table(
        ("command", "seconds", "CPU s"),
        ((f"`{row['command']}`", f"{row['seconds']:.2f}", f"{row['cpu_seconds']:.2f}") for row in rows),
    )


def _lag(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "\n## Longest callbacks on the loop, CPU time\n"
    yield "Of a job inside this process, where the garbage collector is left alone; its longest pause stands apart."
    yield ""
    yield from _table(
        ("job", "ms", "callbacks", "over 5 ms", "in", "collector, ms"),
        (
            (
                row["job"],
                f"{row['longest'][0]['milliseconds']:.1f}",
                f"{row['callbacks']:,}",
                str(row["over_5_ms"]),
                f"`{row['longest'][0]['callback']}`",
                f"{row['longest_collection_milliseconds']:.1f}",
            )
            for row in rows
        ),
    )


def _whole(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "\n## Against real servers, start included\n"
    yield "dynalite, which checks and stores every item, and SeaweedFS for S3. The clock measures them too."
    yield ""
    yield from _table(
        ("job", "items", "seconds", "items / s", "CPU s of ddbio"),
        (
            (
                row["job"],
                f"{row['items']:,}",
                f"{row['seconds']:.1f}",
                f"{row['items'] / row['seconds']:,.0f}",
                f"{row['cpu_seconds']:.2f}",
            )
            for row in rows
        ),
    )


def _codec(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "\n## Codec alone\n"
    yield from _table(
        ("codec, items, format", "page, GB/s", "record to put, 1000 items/s"),
        (
            (
                f"{row['codec']}, {row['shape']}, {row['format']}",
                f"{row['page_gb_per_second']:.3f}",
                f"{row['puts_thousands_per_second']:,.1f}",
            )
            for row in rows
        ),
    )


def _memory(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "\n## Memory\n"
    yield from memory.table(rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Every column but the first is set to the right."""
    yield f"| {' | '.join(heads)} |"
    yield f"|---|{'--:|' * (len(heads) - 1)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


SECTIONS = {"cpu": _cpu, "startup": _startup, "lag": _lag, "codec": _codec, "memory": _memory, "whole": _whole}
