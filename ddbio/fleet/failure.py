"""Errors that cross a process boundary: an exception becomes a Failure, and a Failure an exception again."""

from __future__ import annotations

import traceback

from ddbio import errors
from ddbio.fleet.protocol import Failure


def describe(error: BaseException) -> Failure:
    """Turn an exception (the first one of a group) into a message."""
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


def as_job_error(error: errors.DdbioError) -> errors.DdbioError:
    """Return the error with which a job ends: a WireError is about one request, so it becomes a JobFailedError."""
    return revive(describe(error)) if isinstance(error, errors.WireError) else error


def revive(failure: Failure) -> errors.DdbioError:
    """Return the exception that a Failure describes: a JobFailedError where the original class can't be rebuilt."""
    kind = getattr(errors, failure.kind, errors.JobFailedError)
    if issubclass(kind, errors.WireError):
        kind = errors.JobFailedError
    error: errors.DdbioError = kind(failure.message, hint=failure.hint)
    error.add_note(failure.trace)
    return error
