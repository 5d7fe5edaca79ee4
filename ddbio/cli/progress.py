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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing to close."""

    def __call__(self, event: Event) -> None:
        """Print an event; never raises."""
        match event:
            case JobPlanned():
                self.planned, self.state = True, event.state
                self._plan(event)
            case CheckPlanned():
                self._check(event)
            case Progress():
                self._progress(event)
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

    def _plan(self, plan: JobPlanned) -> None:
        pass

    def _check(self, plan: CheckPlanned) -> None:
        pass

    def _progress(self, progress: Progress) -> None:
        pass


class LogLines(QuietDisplay):
    """Prints a line every few seconds, for files and pipes."""

    def __init__(self) -> None:
        self._tracker: JobTracker | CheckTracker | None = None
        self._logged = 0.0

    def info(self, text: str) -> None:
        """Print one line."""
        self.say(text)

    def _plan(self, plan: JobPlanned) -> None:
        self._tracker = JobTracker(plan)
        self.info(plan_line(plan))

    def _check(self, plan: CheckPlanned) -> None:
        self._tracker = CheckTracker(plan)
        self.info(check_line(plan))

    def _progress(self, progress: Progress) -> None:
        if self._tracker is None:
            return
        self._tracker.add(progress)
        self._show(self._tracker, progress.seconds)

    def _show(self, tracker: JobTracker | CheckTracker, seconds: float) -> None:
        if seconds - self._logged >= LOG_SECONDS:
            self._logged = seconds
            self.info(tracker.line())
