"""Messages on standard error, and exit codes."""

from __future__ import annotations

import json
import os
import sys
from enum import IntEnum
from typing import TextIO

from ddbio.errors import DdbioError, DestinationError, LimitReachedError, OutputClosedError, UsageError
from ddbio.visible import trace, visible


class Exit(IntEnum):
    DONE = 0
    FAILED = 1
    USAGE = 2
    REJECTED = 3
    LIMIT = 4
    INTERRUPTED = 130


def say(text: str) -> None:
    """Print a message as one line on standard error, unless that is closed."""
    try:
        put(text, sys.stderr)
    except OSError:
        discard(sys.stderr)


def put(text: str, stream: TextIO) -> None:
    """Print one line, with control characters escaped."""
    print(visible(text, stream.encoding), file=stream, flush=True)


def put_json(value: object) -> None:
    """Print a value as one line of ASCII JSON on standard output.

    It is flushed at once, since an error at the end of the process could not be reported. Raises DestinationError, or
    BrokenPipeError if the reader has gone.
    """
    try:
        print(json.dumps(value), flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        discard(sys.stdout)
        hint = "Check what standard output is redirected to."
        raise DestinationError(f"Could not write to standard output: {error.strerror}.", hint=hint) from error


def fail(error: Exception, *, verbose: bool) -> Exit:
    """Print an error as one line, after its traceback if `verbose`, and return the exit code."""
    if isinstance(error, OutputClosedError | BrokenPipeError):
        discard(sys.stdout)  # the reader has seen enough: not worth a message
        return Exit.FAILED
    if verbose:
        for line in trace(error).split("\n"):
            say(line)
    if isinstance(error, LimitReachedError):
        say(_line(error))
        return Exit.LIMIT
    say(f"error: {_line(error)}")
    return Exit.USAGE if isinstance(error, UsageError) else Exit.FAILED


def discard(stream: TextIO) -> None:
    """Drop whatever is still written to this stream, also by the interpreter when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _line(error: Exception) -> str:
    if isinstance(error, DdbioError | OSError):
        return str(error)
    # The message of an unexpected error may contain anything, including items.
    return f"Unexpected error ({type(error).__name__}). Run again with --verbose for the traceback."
