"""What a person is told when a command can't do its work, and the exit code that a script sees."""

from __future__ import annotations

import json
import os
import sys
from enum import IntEnum
from typing import TextIO

from ddbio.errors import DdbioError, DestinationError, LimitReachedError, OutputClosedError, UsageError
from ddbio.visible import trace, visible


class Exit(IntEnum):
    """Exit codes."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    REJECTED = 3
    LIMIT = 4
    INTERRUPTED = 130


def say(text: str) -> None:
    """One message, which is one line, on standard error, if anybody reads that."""
    try:
        put(text, sys.stderr)
    except OSError:
        discard(sys.stderr)


def put(text: str, stream: TextIO) -> None:
    """Write one line for a person; nothing in it steers the terminal."""
    print(visible(text, stream.encoding), file=stream, flush=True)


def put_json(value: object) -> None:
    """One line of JSON, in ASCII, on standard output; at once, as at the end of the process nobody tells what fails.

    Raises DestinationError, or BrokenPipeError where the reader went away.
    """
    try:
        print(json.dumps(value), flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        discard(sys.stdout)
        hint = "Check what standard output is directed to."
        raise DestinationError(f"Could not write to standard output: {error.strerror}.", hint=hint) from error


def fail(error: Exception, *, verbose: bool) -> Exit:
    """Tell about an error in one line, after its traceback if that is wanted."""
    if isinstance(error, OutputClosedError | BrokenPipeError):
        discard(sys.stdout)  # who reads the output has had enough, which is no news
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
    """Nobody reads this stream any more: what is still written to it, by the interpreter at its end too, is dropped."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _line(error: Exception) -> str:
    if isinstance(error, DdbioError | OSError):
        return str(error)
    # The message of an unforeseen error may hold anything, items included.
    return f"Something unforeseen went wrong ({type(error).__name__}). Run again with --verbose to see where."
