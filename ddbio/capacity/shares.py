"""How a budget is shared: everybody gets what they can use, and nobody more than an equal part of what is left."""

from __future__ import annotations

from collections.abc import Sequence


def share(budget: float, demands: Sequence[float]) -> list[float]:
    """Split `budget` by `demands` (units per second, infinity for "all I can get").

    Small demands are met in full; the others share the rest equally. What nobody demands is spread equally over those
    who demand anything, so that they can grow. The sum never exceeds `budget`.
    """
    shares = [0.0] * len(demands)
    left = budget
    hungry = sorted((demand, index) for index, demand in enumerate(demands) if demand > 0)
    for position, (demand, index) in enumerate(hungry):
        shares[index] = min(demand, left / (len(hungry) - position))
        left -= shares[index]
    for _, index in hungry:
        shares[index] += max(left, 0.0) / len(hungry)
    return shares
