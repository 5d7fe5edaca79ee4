"""How a budget is shared: each demand is met as far as equal shares of the rest allow."""

from __future__ import annotations

from collections.abc import Sequence

PARTITION_READ = 3_000.0
"""Read units a second that one partition of a table bears (Developer Guide, "DynamoDB burst and adaptive capacity")."""
FIRST_PART = 0.9
"""There is no precedence where it would take more than this part of the budget."""


def share(budget: float, demands: Sequence[float], first: Sequence[float] = ()) -> list[float]:
    """Split `budget` by `demands` (units per second, infinity for "all I can get").

    Small demands are met in full; the others share the rest equally. What is not demanded is divided equally among
    those with any demand, so that they can grow. The sum never exceeds `budget`. The part of each demand that `first`
    gives takes precedence over all others, provided that it leaves them something (`FIRST_PART`).
    """
    ahead = [0.0] * len(demands)
    if 0 < sum(first) <= budget * FIRST_PART:
        ahead = [min(pair) for pair in zip(first, demands, strict=True)]
    rest = _split(budget - sum(ahead), [demand - part for demand, part in zip(demands, ahead, strict=True)])
    shares = [part + more for part, more in zip(ahead, rest, strict=True)]
    hungry = [index for index, demand in enumerate(demands) if demand > 0]
    over = max(budget - sum(shares), 0.0)
    for index in hungry:
        shares[index] += over / len(hungry)
    return shares


def _split(budget: float, demands: Sequence[float]) -> list[float]:
    shares = [0.0] * len(demands)
    left = budget
    hungry = sorted((demand, index) for index, demand in enumerate(demands) if demand > 0)
    for position, (demand, index) in enumerate(hungry):
        shares[index] = min(demand, left / (len(hungry) - position))
        left -= shares[index]
    return shares
