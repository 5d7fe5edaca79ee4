"""The bounds of a budget, on whole fleets and virtual time: a short version of `benchmarks/capacity`."""

from __future__ import annotations

import pytest

from benchmarks.capacity.fleet import counts_for, exporting, matrix_export, matrix_import, run
from ddbio.capacity import Pace


@pytest.mark.parametrize("processes", [1, 16])
@pytest.mark.parametrize(("budget", "item_bytes"), [(5, 50), (5, 400 * 1024), (1_000, 4 * 1024), (20_000, 50)])
def test_reading_keeps_to_the_budget_and_uses_it(budget: float, item_bytes: int, processes: int) -> None:
    found = matrix_export(budget, item_bytes, processes, seconds=6)
    assert found.worst <= 1.02
    assert found.used >= 0.97


@pytest.mark.parametrize("processes", [1, 16])
@pytest.mark.parametrize(("budget", "item_bytes"), [(5, 50), (1_000, 4 * 1024), (1_000, 400 * 1024)])
def test_writing_keeps_to_the_budget_and_uses_it(budget: float, item_bytes: int, processes: int) -> None:
    found = matrix_import(budget, item_bytes, processes, seconds=6)
    assert found.worst <= 1.02
    assert found.used >= 0.97


def test_a_changed_budget_is_kept_from_two_seconds_on() -> None:
    fleet = exporting(2_000, counts_for(30_000, 4 * 1024, 64), 4 * 1024, 4)
    run(fleet, [(5.0, lambda one: one.coordinator.budget.set(Pace(500)))])
    served = [event.units for event in fleet.table.account.events["read"] if 7 <= event.at < 20]
    assert sum(served) == pytest.approx(13 * 500, rel=0.04)
