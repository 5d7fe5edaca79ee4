"""A job's plan and progress to show, and a terminal to show them on."""

from __future__ import annotations

import io

from ddbio.events import JobPlanned, Progress

PLAN = JobPlanned(
    command="export",
    account="123456789012",
    region="eu-west-1",
    table="Orders",
    table_bytes=81_920_000,
    table_items=500_000,
    source_bytes=None,
    budget=500.0,
    splits=64,
    processes=2,
    expected_seconds=20.0,
    location="out",
)


def progress(seconds: float, **figures: int | float) -> Progress:
    zeros: dict[str, int | float] = dict.fromkeys(
        ("items", "bytes", "units", "throttles", "rejected", "splits_done"), 0
    )
    return Progress(seconds=seconds, **(zeros | figures))  # type: ignore[arg-type]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True
