"""Spending: counters that add up, whatever else the values have that report them."""

from __future__ import annotations

from dataclasses import asdict, fields

from ddbio.pipeline.meter import Usage
from ddbio.report import JobReport, Spending


def test_usages_add_up_to_what_they_have_spent() -> None:
    usages = [Usage(capacity_units=1.5, requests=2, items=7), Usage(capacity_units=2, throttles=1, cpu_seconds=0.5)]
    spent = sum(usages, Spending())
    assert spent == Spending(capacity_units=3.5, requests=2, throttles=1, cpu_seconds=0.5)


def test_a_report_shows_the_counters_as_members_of_its_own() -> None:
    spent = Spending(**{each.name: number for number, each in enumerate(fields(Spending), 1)})
    members = JobReport(
        command="export",
        table="T",
        items=0,
        bytes=0,
        files=0,
        rejected=0,
        rejects=None,
        used=spent,
        peak_rss_bytes=0,
        resumed=False,
        manifest=None,
    ).as_dict()
    assert members.items() >= asdict(spent).items()
    assert "used" not in members
