"""Spending: counters that add up, whatever else the values have that report them."""

from __future__ import annotations

from dataclasses import fields

from ddbio.ledger.manifest import Totals
from ddbio.pipeline.meter import Usage
from ddbio.report import JobReport, Spending


def test_usages_add_up_to_what_they_have_spent() -> None:
    usages = [Usage(capacity_units=1.5, requests=2, items=7), Usage(capacity_units=2, throttles=1, cpu_seconds=0.5)]
    spent = sum(usages, Spending())
    assert spent == Spending(capacity_units=3.5, requests=2, throttles=1, cpu_seconds=0.5)


def test_whoever_reports_spending_has_all_of_its_counters() -> None:
    spent = Spending(**{each.name: number for number, each in enumerate(fields(Spending), 1)})
    totals = Totals(items=1, bytes=2, rejected=3, rejects=None, **spent.counters())
    assert totals.counters() == spent.counters()
    assert {each.name for each in fields(Spending)} <= {each.name for each in fields(JobReport)}
