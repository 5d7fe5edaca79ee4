"""Observers that print the events of a running job."""

from __future__ import annotations

from typing import Self

from ddbio.cli.failures import say
from ddbio.cli.figures import CheckTracker, JobTracker, check_line, plan_line, rejects_lines
from ddbio.events import CheckPlanned, Event, JobPlanned, ProblemFound, Progress, RecordsRejected, Steered, Warned

LOG_SECONDS = 5.0


class QuietDisplay:
    """Prints warnings and problems only."""

    planned = False
    """Whether a job was planned, so that it can be resumed."""
    state: str | None = None
    """The state folder of an import."""
    _tracker: JobTracker | CheckTracker | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing to close."""

    def __call__(self, event: Event) -> None:
        """Print an event; never raises."""
        match event:
            case JobPlanned():
                self.planned, self.state = True, event.state
                self._tracker = JobTracker(event)
                self.info(plan_line(event))
            case CheckPlanned():
                self._tracker = CheckTracker(event)
                self.info(check_line(event))
            case Progress() if self._tracker is not None:
                self._tracker.add(event)
                self._show(self._tracker, event.seconds)
            case Warned():
                self.say(f"warning: {event.message}")
            case RecordsRejected():
                for line in rejects_lines(event):
                    self.say(f"warning: {line}")
            case Steered():
                self.info(event.message)
            case ProblemFound():
                self.say(f"problem: {event.message}")

    def say(self, text: str) -> None:
        """Print one line."""
        say(text)

    def info(self, text: str) -> None:
        """Print one line, unless the display is quiet."""

    def _show(self, tracker: JobTracker | CheckTracker, seconds: float) -> None:
        """Show the progress, which is the state of the tracker at this time."""


class LogLines(QuietDisplay):
    """Prints a line every few seconds, for files and pipes."""

    _logged = 0.0

    def info(self, text: str) -> None:
        self.say(text)

    def _show(self, tracker: JobTracker | CheckTracker, seconds: float) -> None:
        if seconds - self._logged >= LOG_SECONDS:
            self._logged = seconds
            self.info(tracker.line())
