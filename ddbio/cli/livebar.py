"""A progress bar at the bottom of a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Self, TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from ddbio.cli.failures import discard
from ddbio.cli.figures import CheckTracker, JobTracker
from ddbio.cli.progress import LogLines
from ddbio.visible import visible


class _Terminal:
    """Standard error for rich, which would end the process or its own thread when a write fails.

    Once the terminal is gone, output is dropped.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._try(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, do: Callable[..., object], *arguments: str) -> None:
        try:
            do(*arguments)
        except OSError:
            discard(self._stream)


class LiveBar(LogLines):
    """Log lines with a progress bar below them, drawn by a thread of rich so that a slow terminal delays nothing."""

    def __init__(self) -> None:
        self._encoding = sys.stderr.encoding
        self._console = Console(
            file=cast("TextIO", _Terminal(sys.stderr)), markup=False, emoji=False, highlight=False, soft_wrap=True
        )
        self._bar = Progress(
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
            console=self._console,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task("", total=1.0, visible=False)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """Print one line above the bar."""
        self._console.print(visible(text, self._encoding))

    def _show(self, tracker: JobTracker | CheckTracker, seconds: float) -> None:
        del seconds
        line = visible(tracker.line(), self._encoding)
        self._bar.update(self._task, completed=tracker.done(), description=line, visible=True)
