"""Running a job from the command line: event loop, signals, output, exit code."""

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
from ddbio.capacity import Control
from ddbio.cli.common import OutputOptions
from ddbio.cli.failures import Exit, fail, put_json, say
from ddbio.cli.figures import rejected_line, summary
from ddbio.cli.progress import LogLines, QuietDisplay
from ddbio.errors import DestinationError, LimitReachedError, TooManyRejectsError
from ddbio.events import Observer
from ddbio.jobs.control_file import pause
from ddbio.report import JobReport
from ddbio.visible import log_visibly, visible

T = TypeVar("T")
SHOW_CURSOR = b"\x1b[?25h"
STOPPING = "Stopping: no new requests are sent. Press Ctrl-C again to quit at once."


def run_job(
    job: Callable[..., Coroutine[Any, Any, T]],
    output: OutputOptions,
    *,
    stream: bool,
    resumable: bool,
    conclude: Callable[[T, OutputOptions, QuietDisplay], Exit],
) -> Exit:
    """Run `job(observer=…, control=…)` to its end, print what it did, and return the exit code.

    With `stream`, items are written to standard output, so no progress bar is drawn. With `resumable`, the same
    command can resume the job after an interruption.
    """
    log_details(output.verbose)
    display = choose_display(quiet=output.quiet, plain=stream or output.verbose)
    try:
        with display:
            report = runtime.run(cancellable(_pausable(job, display), lambda: display.say(STOPPING)))
        return conclude(report, output, display)
    except (asyncio.CancelledError, KeyboardInterrupt):
        if resumable and not display.planned:
            # With --resume, the same command would resume an earlier job or find it finished.
            say("Interrupted before anything was done.")
            return Exit.INTERRUPTED
        say("Interrupted.")
        if resumable:
            say(f"Resume with: {resume_command(sys.argv, display.state)}")
        return Exit.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the outermost handler of the process
        return _failed(error, output, display)


def choose_display(*, quiet: bool, plain: bool) -> QuietDisplay:
    """Return the display that fits standard error; `plain` asks for log lines even on a terminal."""
    if quiet:
        return QuietDisplay()
    if plain or not sys.stderr.isatty():
        return LogLines()
    from ddbio.cli.livebar import LiveBar  # noqa: PLC0415 - rich takes a tenth of a second to import

    return LiveBar()


def _failed(error: Exception, output: OutputOptions, display: QuietDisplay) -> Exit:
    if isinstance(error, LimitReachedError) and error.report is not None:
        try:
            _print_report(error.report, output, display)
        except (OSError, DestinationError) as unwritten:
            fail(unwritten, verbose=output.verbose)
    code = fail(error, verbose=output.verbose)
    if getattr(error, "resumable", False):
        more_rejects = isinstance(error, TooManyRejectsError)
        say(f"Resume with: {resume_command(sys.argv, display.state, more_rejects=more_rejects)}")
    return code


async def cancellable(main: Coroutine[Any, Any, T], stopping: Callable[[], None]) -> T:
    """Run `main`.

    The first SIGINT, SIGTERM or SIGHUP (unless ignored) calls `stopping` and cancels `main`. The second ends the
    process immediately; worker processes end when the sockets of their parent close.
    """
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


async def _pausable(job: Callable[..., Coroutine[Any, Any, T]], observer: Observer) -> T:
    """Run `job`; each SIGUSR1 pauses or resumes it."""
    control = Control()
    running = job(observer=observer, control=control)
    if not hasattr(signal, "SIGUSR1"):  # Windows
        return await running
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, lambda: pause(control, observer, not control.paused))
    try:
        return await running
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # a late signal must not end a finished process


def _ending() -> list[signal.Signals]:
    """Return the signals that stop a job. A terminal sends SIGHUP when it is closed."""
    asked = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # not on Windows
        asked.append(signal.SIGHUP)
    return asked


def _end_at_once() -> None:
    if sys.stderr.isatty():
        with suppress(OSError):
            os.write(sys.stderr.fileno(), SHOW_CURSOR)
    os._exit(Exit.INTERRUPTED)


def resume_command(command: Sequence[str], state: str | None = None, *, more_rejects: bool = False) -> str:
    """Build the command line that resumes this one; with `more_rejects`, the user has to fill in a higher limit."""
    words = [word for word in command[1:] if word not in ("--resume", "--overwrite", "--")]
    if state is not None:
        words = _with(words, "--state", state)
    if more_rejects:
        words = _with([word for word in words if word != "--strict"], "--max-rejects", "N")
    return " ".join(["ddbio", *map(_quoted, words), "--resume"])


def _quoted(word: str) -> str:
    """Quote a word for the shell; bytes that can't be printed are written as octal escapes."""
    if visible(word, sys.stderr.encoding) == word:
        return shlex.quote(word)
    escaped = (chr(byte) if 32 <= byte < 127 and byte not in b"'\\" else f"\\{byte:03o}" for byte in os.fsencode(word))
    return f"$'{''.join(escaped)}'"


def _with(words: list[str], option: str, value: str) -> list[str]:
    for at, word in enumerate(words):
        if word == option:
            return [*words[: at + 1], value, *words[at + 2 :]]
        if word.startswith(f"{option}="):
            return [*words[:at], f"{option}={value}", *words[at + 1 :]]
    return [*words, option, value]


def log_details(verbose: bool) -> None:
    """Log to standard error, if `verbose` with ddbio's details; botocore's contain signatures and tokens."""
    log_visibly("%(asctime)s %(name)s: %(message)s" if verbose else "%(message)s")
    if verbose:
        logging.getLogger("ddbio").setLevel(logging.DEBUG)


def report_moved(report: JobReport, output: OutputOptions, display: QuietDisplay) -> Exit:
    """Print what an export or import did. A job that an earlier run finished has rejected nothing in this one."""
    _print_report(report, output, display)
    if not report.rejected or not display.planned:
        return Exit.DONE
    if not report.items:
        display.say("error: Nothing was imported: no record could be written.")
        return Exit.FAILED
    return Exit.REJECTED


def _print_report(report: JobReport, output: OutputOptions, display: QuietDisplay) -> None:
    for line in summary(report, earlier=not display.planned):
        display.info(line)
    if report.rejected and not display.planned:
        display.say(f"warning: {rejected_line(report.rejected, report.rejects)}")
    if output.report:
        put_json(report.as_dict())
