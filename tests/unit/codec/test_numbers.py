"""A set of numbers in one bit each."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ddbio.ledger.numbers import Numbers


@given(st.lists(st.integers(0, 300)))
def test_it_is_a_set(numbers: list[int]) -> None:
    subject = Numbers()
    for number in numbers:
        subject.add(number)
    for each in (subject, Numbers(subject.packed())):
        assert [number for number in range(400) if number in each] == sorted(set(numbers))
        assert len(each) == len(set(numbers))
    assert "1" not in subject


def test_a_million_numbers_take_125_kilobytes() -> None:
    subject = Numbers()
    subject.add(999_999)
    assert len(subject.packed()) == 125_000
