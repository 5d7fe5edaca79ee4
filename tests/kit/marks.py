"""Which cases of a sweep, and how many examples of a property, belong to every run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import settings


def few(cases: Iterable[Any], *kept: int) -> list[Any]:
    """The cases of a parametrized test, all of them `exhaustive` but those at the positions `kept`."""
    return [
        case if position in kept else pytest.param(*_arguments(case), marks=pytest.mark.exhaustive)
        for position, case in enumerate(cases)
    ]


def examples(count: int) -> settings:
    """Draw a fifth of `count` examples, and all of them under the profile `exhaustive`."""
    exhaustive = settings.get_current_profile_name() == "exhaustive"
    return settings(max_examples=count if exhaustive else max(count // 5, 10), deadline=None)


def _arguments(case: Any) -> tuple[Any, ...]:
    return case if isinstance(case, tuple) else (case,)
