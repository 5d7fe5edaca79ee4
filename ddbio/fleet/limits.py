"""Limits: when a job has to stop early, and which indexes throttle it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ddbio.capacity.adaptive import index_of
from ddbio.errors import LimitReachedError, TooManyRejectsError
from ddbio.ledger.ledger import Ledger
from ddbio.report import Moment
from ddbio.words import count

OWN_LIMITS = ("ProvisionedThroughputExceeded", "MaxOnDemandThroughputExceeded")
"""Endings of the reasons that mean that an index has used up its own capacity (API Reference, ThrottlingReason)."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How many rejected records a job tolerates, and the units and seconds that one run of it may use."""

    max_rejects: int = 0
    max_units: float | None = None
    max_seconds: float | None = None

    def too_many_rejects(self, ledger: Ledger) -> TooManyRejectsError | None:
        """Return the error with which the job ends, if it has rejected more records than it tolerates."""
        if ledger.rejected <= self.max_rejects:
            return None
        if self.max_rejects:
            rejected = count(ledger.rejected, "record was", "records were")
            message = f"{rejected} rejected, more than the {self.max_rejects:,} allowed."
        else:
            message = "Stopped at the first rejected record (--strict, or --max-rejects 0)."
        goes_on = "continue with --resume" if ledger.has_journal else "start over"
        return TooManyRejectsError(
            message,
            hint=f"See {ledger.rejects_location} for the reasons; {goes_on} with a higher --max-rejects and "
            "without --strict.",
        )

    def reached(self, totals: Moment, ledger: Ledger) -> LimitReachedError | None:
        """Return the error with which the job ends, if it has used up its units or its time."""
        if self.max_units is not None and totals.units >= self.max_units:
            why = f"its --max-units of {self.max_units:,.0f} are used up"
        elif self.max_seconds is not None and totals.seconds >= self.max_seconds:
            why = f"its --max-duration of {self.max_seconds:,.0f} s is over"
        else:
            return None
        hint = "Continue with --resume." if ledger.has_journal else None
        return LimitReachedError(f"The job is not done, and {why}.", hint=hint)


class ThrottledIndexes:
    """The indexes that throttle a job; each is named once for each reason."""

    def __init__(self) -> None:
        self._named: set[str] = set()

    def warnings(self, reasons: Iterable[str]) -> Iterator[str]:
        """Yield a message for each new reason (see `Usage.reasons`) that is about an index."""
        for reason in reasons:
            index = index_of(reason)
            if index is not None and reason not in self._named:
                self._named.add(reason)
                kind = reason.split()[0]
                why = ": its own capacity is too small." if kind.endswith(OWN_LIMITS) else "."
                yield f"Index {index} throttles the job ({kind}){why}"
