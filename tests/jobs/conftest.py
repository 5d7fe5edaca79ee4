"""Whole jobs run on a folder and on SeaweedFS, the strict S3; with moto's S3 too where runs are exhaustive."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and isinstance(item, pytest.Function):
            parameters = item.callspec.params if hasattr(item, "callspec") else {}
            if parameters.get("place") == "moto":
                item.add_marker(pytest.mark.exhaustive)
