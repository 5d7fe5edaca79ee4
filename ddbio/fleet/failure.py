"""Errors that cross a process boundary: an exception becomes a Failure, and a Failure the same exception again."""

from __future__ import annotations

import traceback

from ddbio import errors
from ddbio.fleet.protocol import Failure


def describe(error: BaseException) -> Failure:
    """Put an exception (or the first one of a group) into words that travel."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, errors.DdbioError):
        return Failure(kind=type(error).__name__, message=error.message, hint=error.hint, trace=trace)
    return Failure(
        kind="JobFailedError",
        message=f"A worker failed with {type(error).__name__}.",
        hint="This is a defect of ddbio: please report it with the output of --verbose.",
        trace=trace,
    )


def revive(failure: Failure) -> errors.DdbioError:
    """The exception that a Failure stands for; its class is JobFailedError where the original can't be rebuilt."""
    kind = getattr(errors, failure.kind, errors.JobFailedError)
    if issubclass(kind, errors.WireError):
        kind = errors.JobFailedError
    error: errors.DdbioError = kind(failure.message, hint=failure.hint)
    error.add_note(failure.trace)
    return error
