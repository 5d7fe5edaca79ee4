"""The timeline: nothing is lost when rows are merged, and there are never too many."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ddbio.fleet.job_progress import Timeline
from ddbio.report import Moment


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.05, 5), st.integers(0, 100)), max_size=200), st.integers(2, 50))
def test_the_rows_add_up_and_are_few(steps: list[tuple[float, int]], most: int) -> None:
    subject, totals = Timeline(most), Moment(seconds=0)
    for pause, units in steps:
        done = totals.units + units
        totals = Moment(seconds=totals.seconds + pause, units=done, items=int(done), bytes=3, throttles=1, splits=4)
        subject.add(totals)
    rows = subject.rows(totals)
    assert len(rows) <= most
    assert sum(row.units for row in rows) == totals.units
    assert sum(row.items for row in rows) == totals.items
    assert [row.seconds for row in rows] == sorted({row.seconds for row in rows})
    assert not rows or rows[-1].seconds == totals.seconds


def test_a_row_is_about_a_second() -> None:
    subject = Timeline()
    for tick in range(1, 41):
        subject.add(Moment(seconds=tick / 4, items=tick))
    rows = subject.rows(Moment(seconds=10, items=40))
    assert [row.seconds for row in rows] == list(range(1, 11))
    assert {row.items for row in rows} == {4}
