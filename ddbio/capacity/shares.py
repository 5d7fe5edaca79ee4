"""How a budget is shared: everybody gets what they can use, and nobody more than an equal part of what is left."""

from __future__ import annotations

from collections.abc import Sequence

FIRST_PART = 0.9
"""Nobody comes first if those who would can use more than this part of the budget: they can use it later as well."""


def share(budget: float, demands: Sequence[float], first: Sequence[float] = ()) -> list[float]:
    """Split `budget` by `demands` (units per second, infinity for "all I can get").

    Small demands are met in full; the others share the rest equally. What nobody demands is spread equally over those
    who demand anything, so that they can grow. The sum never exceeds `budget`. Of each demand, as much as `first` says
    is met before all others, where that leaves something to them (`FIRST_PART`).
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
