"""Running a job from the command line: the event loop, signals, what is told, the exit code."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from ddbio import runtime
from ddbio.cli.common import Telling
from ddbio.cli.failures import Exit, fail, put_json, say
from ddbio.cli.figures import rejected_line, summary
from ddbio.cli.progress import Silence, display
from ddbio.errors import DestinationError, LimitReachedError, TooManyRejectsError
from ddbio.events import Observer
from ddbio.report import JobReport
from ddbio.visible import log_visibly, visible

T = TypeVar("T")
SHOW_CURSOR = b"\x1b[?25h"


def run_job(
    job: Callable[[Observer], Coroutine[Any, Any, T]],
    telling: Telling,
    *,
    stream: bool,
    resumable: bool,
    conclude: Callable[[T, Telling, Silence], Exit],
) -> Exit:
    """Run a job to its end, tell what it did, and return the exit code.

    `stream` says that items go through standard output: no bar is drawn between them. `resumable` says that the same
    command can go on with the job when it is interrupted.
    """
    log_details(telling.verbose)
    shown = display(quiet=telling.quiet, plain=stream or telling.verbose)
    try:
        with shown:
            report = run(job(shown), lambda: shown.say("Stopping: no new requests. Press Ctrl-C again to end at once."))
        return conclude(report, telling, shown)
    except (asyncio.CancelledError, KeyboardInterrupt):
        if resumable and not shown.begun:
            # The same command with --resume would go on with an earlier job, or find that one finished.
            say("Interrupted before anything was done.")
            return Exit.INTERRUPTED
        say("Interrupted.")
        if resumable:
            say(f"Go on with: {resuming(sys.argv, shown.state)}")
        return Exit.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last one who can tell a person
        return _failed(error, telling, shown)


def _failed(error: Exception, telling: Telling, shown: Silence) -> Exit:
    if isinstance(error, LimitReachedError) and error.report is not None:
        try:
            _tell_report(error.report, telling, shown)
        except (OSError, DestinationError) as unwritten:
            fail(unwritten, verbose=telling.verbose)
    code = fail(error, verbose=telling.verbose)
    if getattr(error, "resumable", False):
        more_rejects = isinstance(error, TooManyRejectsError)
        say(f"Go on with: {resuming(sys.argv, shown.state, more_rejects=more_rejects)}")
    return code


def run(main: Coroutine[Any, Any, T], stopping: Callable[[], None]) -> T:
    """Run `main` on an event loop of its own.

    The first SIGINT, SIGTERM or SIGHUP (unless that is ignored) calls `stopping` and cancels `main`; the second ends
    the process on the spot (worker processes end with the sockets of their parent).
    """
    return runtime.run(_cancellable(main, stopping))


async def _cancellable(main: Coroutine[Any, Any, T], stopping: Callable[[], None]) -> T:
    task = asyncio.ensure_future(main)
    loop = asyncio.get_running_loop()
    stopped = False

    def stop() -> None:
        stopping()
        task.cancel()

    def on_signal(*_: object) -> None:
        nonlocal stopped
        if stopped:
            _end_at_once()
        stopped = True
        loop.call_soon_threadsafe(stop)

    before = {number: signal.signal(number, on_signal) for number in _ending()}
    try:
        return await task
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ending() -> list[signal.Signals]:
    """The signals that ask for the end. A terminal that is closed sends SIGHUP."""
    asked = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # Windows has none
        asked.append(signal.SIGHUP)
    return asked


def _end_at_once() -> None:
    if sys.stderr.isatty():
        with suppress(OSError):
            os.write(sys.stderr.fileno(), SHOW_CURSOR)
    os._exit(Exit.INTERRUPTED)


def resuming(command: Sequence[str], state: str | None = None, *, more_rejects: bool = False) -> str:
    """The command line that goes on where this one stopped; with `more_rejects`, a person has to say how many."""
    words = [word for word in command[1:] if word not in ("--resume", "--overwrite", "--")]
    if state is not None:
        words = _with(words, "--state", state)
    if more_rejects:
        words = _with([word for word in words if word != "--strict"], "--max-rejects", "N")
    return " ".join(["ddbio", *map(_quoted, words), "--resume"])


def _quoted(word: str) -> str:
    """The word as a shell takes it; bytes that would not be shown as they are stand there by their octal numbers."""
    if visible(word, sys.stderr.encoding) == word:
        return shlex.quote(word)
    shown = (chr(byte) if 32 <= byte < 127 and byte not in b"'\\" else f"\\{byte:03o}" for byte in os.fsencode(word))
    return f"$'{''.join(shown)}'"


def _with(words: list[str], option: str, value: str) -> list[str]:
    for at, word in enumerate(words):
        if word == option:
            return [*words[: at + 1], value, *words[at + 2 :]]
        if word.startswith(f"{option}="):
            return [*words[:at], f"{option}={value}", *words[at + 1 :]]
    return [*words, option, value]


def log_details(verbose: bool) -> None:
    """Send the log to standard error, with ddbio's details if wanted; botocore's hold signatures and tokens."""
    log_visibly("%(asctime)s %(name)s: %(message)s" if verbose else "%(message)s")
    if verbose:
        logging.getLogger("ddbio").setLevel(logging.DEBUG)


def tell_moved(report: JobReport, telling: Telling, shown: Silence) -> Exit:
    """Tell what an export or import did. One that was finished before has rejected nothing now."""
    _tell_report(report, telling, shown)
    if not report.rejected or not shown.begun:
        return Exit.DONE
    if not report.items:
        shown.say("error: Nothing was imported: no record could be written.")
        return Exit.FAILED
    return Exit.REJECTED


def _tell_report(report: JobReport, telling: Telling, shown: Silence) -> None:
    for line in summary(report, earlier=not shown.begun):
        shown.tell(line)
    if report.rejected and not shown.begun:
        shown.say(f"warning: {rejected_line(report.rejected, report.rejects)}")
    if telling.report:
        put_json(report.as_dict())
