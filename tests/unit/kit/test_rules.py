"""The rules of this folder: who imports whom, and how long names are."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[2]
MODULES = sorted(TESTS.rglob("*.py"))


def found(pattern: str) -> list[str]:
    """What matches in any module, after the path of that module."""
    return [
        f"{path.relative_to(TESTS)}: {match[0]}"
        for path in MODULES
        for match in re.finditer(pattern, path.read_text(), re.MULTILINE)
    ]


def test_no_module_imports_a_test_module_or_a_benchmark() -> None:
    assert found(r"^\s*(from|import) (tests\.(\w+\.)*test_\w+|benchmarks\b).*") == []


def test_names_of_tests_are_shorter_than_60_characters() -> None:
    assert found(r"def test_\w{55,}") == []
