"""Max-min fair sharing of a budget: small demands are met in full, and the others share the rest equally."""

from __future__ import annotations

from collections.abc import Sequence

FIRST_PART = 0.9
"""`first` is ignored where it is more than this part of the budget in total: it can be used later as well."""


def share(budget: float, demands: Sequence[float], first: Sequence[float] = ()) -> list[float]:
    """Divide `budget` by `demands`, in units per second; an infinite demand takes all that it can get.

    What is left over is divided equally among all positive demands, so that they can grow. The sum of the shares never
    exceeds `budget`. The part of each demand that `first` names is met before anything else, unless that would leave
    too little for the others (`FIRST_PART`).
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
