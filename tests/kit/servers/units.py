"""What the service charges, and how it says so (Developer Guide, "Read and write operations")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def read_units(size: int, consistent: bool) -> float:
    """The price of a page of `size` bytes: 4 KB a unit, rounded once, half of it when eventual, never nothing."""
    units = max(1, -(-size // 4096))
    return float(units) if consistent else units / 2


def write_units(size: int) -> int:
    """The price of a put of an item of `size` bytes: 1 KB a unit."""
    return -(-size // 1024)


def asks_for_units(payload: Mapping[str, Any]) -> bool:
    """Whether a request wants ConsumedCapacity in its reply."""
    return bool(payload.get("ReturnConsumedCapacity", "NONE") != "NONE")


def consumed(payload: Mapping[str, Any], table: str, units: float) -> dict[str, Any]:
    """The ConsumedCapacity of one table, in the form that the request asks for."""
    capacity: dict[str, Any] = {"TableName": table, "CapacityUnits": units}
    if payload.get("ReturnConsumedCapacity") == "INDEXES":
        capacity["Table"] = {"CapacityUnits": units}
    return capacity
