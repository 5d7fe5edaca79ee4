"""What may be said of an attribute's type, when paths are many."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from ddbio.hints import LOSSY, MAX_PATHS, SS, L, PathTypes, S

OTHERS = {f"p{number}": S for number in range(MAX_PATHS)}


def test_a_path_of_one_lossy_type_gets_a_hint_a_mixed_one_none() -> None:
    types = PathTypes()
    assert types.merge({"a": SS, "b": SS, "c": S}) == ["a", "b"]
    assert types.merge({"a": SS, "b": L}) == []
    assert types.hints() == {"a": "SS"}
    assert types.mixed() == ["b"]


def test_a_cut_off_page_makes_unnamed_paths_uncertain() -> None:
    types = PathTypes()
    types.merge({"before": SS})
    types.merge(OTHERS)
    types.merge({"p3": S})
    assert types.hints() == {}
    assert types.mixed() == ["before"]


def test_a_path_first_seen_after_a_cut_is_not_certain() -> None:
    types = PathTypes()
    types.merge(dict.fromkeys(list(OTHERS)[: MAX_PATHS - 1], S) | {"set": SS})
    types.merge({"later": SS})
    assert types.hints() == {"set": "SS"}
    assert types.mixed() == []


def test_paths_without_room_are_told_once() -> None:
    types = PathTypes()
    types.merge(OTHERS)
    assert types.merge({"x": SS, "y": SS}) == ["x"]
    assert types.merge({"z": SS}) == []


def test_whether_paths_may_have_been_left_out_is_known() -> None:
    types = PathTypes()
    types.merge(dict.fromkeys(list(OTHERS)[: MAX_PATHS - 1], S))
    types.merge({"p3": S, "last": S})
    assert not types.cut_off
    types.merge({"one more": SS})
    assert types.cut_off
    page = PathTypes()
    page.merge(OTHERS)
    assert page.cut_off


@given(st.integers(0, 1_000_000))
def test_hints_of_cut_off_and_merged_pages_are_never_wrong(seed: int) -> None:
    """Pages of many paths, each cut off at the limit, merged by several workers and then together."""
    rng = random.Random(seed)
    names = [f"n{number}" for number in range(MAX_PATHS + rng.randrange(3))]
    truth: dict[str, int] = {}
    job = PathTypes()
    for _ in range(3):
        worker = PathTypes()
        for _ in range(2):
            chosen = rng.sample(names, rng.choice([3, MAX_PATHS - 1, len(names)]))
            page = {name: rng.choice([SS, SS, SS, L]) for name in chosen}
            for name, mask in page.items():
                truth[name] = truth.get(name, 0) | mask
            worker.merge(dict(list(page.items())[:MAX_PATHS]))
        job.merge(worker.masks)
    for name in job.hints():
        assert truth[name] == SS
        assert truth[name] & LOSSY
