"""Numbers in sentences."""

from __future__ import annotations

from decimal import Decimal


def count(number: int, one: str, many: str = "") -> str:
    """Format a number of things: `1 item`, `2,000 items`; `many` is the plural if it is not `one` with an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def plain(number: float) -> str:
    """Format a number in full, without an exponent: `1000000`, `0.5`."""
    return f"{Decimal(repr(number)).normalize():f}"
