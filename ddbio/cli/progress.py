"""What a person sees while a job runs: observers of its events, and silence is one of them."""

from __future__ import annotations

import sys
from typing import Self

from ddbio.cli.failures import say
from ddbio.cli.figures import CheckCourse, Course, check_line, plan_line, rejects_lines
from ddbio.events import CheckPlanned, Event, JobPlanned, ProblemFound, Progress, RecordsRejected, Steered, Warned

LOG_SECONDS = 5.0


class Silence:
    """Nothing but warnings."""

    begun = False
    """A job was planned, and can be gone on with."""
    state: str | None = None
    """The folder of its own files, if it is an import."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing to end."""

    def __call__(self, event: Event) -> None:
        """Show an event; never raises."""
        match event:
            case JobPlanned():
                self.begun, self.state = True, event.state
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
                self.tell(event.message)
            case ProblemFound():
                self.say(f"problem: {event.message}")

    def say(self, text: str) -> None:
        """Show one line, now."""
        say(text)

    def tell(self, text: str) -> None:
        """Show one line that silence leaves out."""

    def _plan(self, plan: JobPlanned) -> None:
        pass

    def _check(self, plan: CheckPlanned) -> None:
        pass

    def _progress(self, progress: Progress) -> None:
        pass


class LogLines(Silence):
    """A line every few seconds, for files and pipes."""

    def __init__(self) -> None:
        self._course: Course | CheckCourse | None = None
        self._told = 0.0

    def tell(self, text: str) -> None:
        """Show one line."""
        self.say(text)

    def _plan(self, plan: JobPlanned) -> None:
        self._course = Course(plan)
        self.tell(plan_line(plan))

    def _check(self, plan: CheckPlanned) -> None:
        self._course = CheckCourse(plan)
        self.tell(check_line(plan))

    def _progress(self, progress: Progress) -> None:
        if self._course is None:
            return
        self._course.add(progress)
        self._show(self._course, progress.seconds)

    def _show(self, course: Course | CheckCourse, seconds: float) -> None:
        if seconds - self._told >= LOG_SECONDS:
            self._told = seconds
            self.tell(course.line())


def display(*, quiet: bool, plain: bool) -> Silence:
    """The fitting observer: `plain` asks for log lines even on a terminal."""
    if quiet:
        return Silence()
    if plain or not sys.stderr.isatty():
        return LogLines()
    from ddbio.cli.livebar import LiveBar  # noqa: PLC0415 - rich takes a tenth of a second

    return LiveBar()
