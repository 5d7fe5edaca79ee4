"""The exceptions that ddbio raises, in one hierarchy.

The message says what was tried and where, and `hint` says what to do next. Messages never contain credentials or the
contents of items.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from ddbio.report import JobReport


class DdbioError(Exception):
    """Base class of all exceptions that ddbio raises deliberately."""

    resumable = False
    """Whether the journal is valid, so that the job can be continued with `resume`."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def stopped(self, *, resumable: bool) -> Self:
        """Record whether the job that this error stopped can be resumed; returns the error, like `with_traceback`."""
        self.resumable = resumable
        return self

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message


class UsageError(DdbioError):
    """The options contradict each other or the table; nothing was done (exit code 2)."""


class PreflightError(DdbioError):
    """Something that the job needs is missing or forbidden; raised before the first paid request."""


class NoInputError(PreflightError):
    """The source exists but contains no input file."""


class JobLockedError(PreflightError):
    """Another job holds the lock on the same location, or has taken it over."""


class JobFailedError(DdbioError):
    """The job started and could not be finished."""


class LedgerError(JobFailedError):
    """Counts that must agree differ: items were lost or written twice."""


class JournalError(JobFailedError):
    """The journal of an unfinished job is damaged, so that the job can't be resumed."""


class CheckpointMismatchError(UsageError):
    """The options or the table differ from those of the job to be resumed; the message names both values."""


class UnfinishedJobError(UsageError):
    """The location holds an unfinished job."""


class WorkerLostError(JobFailedError):
    """A worker process died before its work was done."""


class LimitReachedError(JobFailedError):
    """The job reached `max_units` or `max_seconds` before it was done."""

    report: JobReport | None = None
    """What the job has done so far."""

    def with_report(self, report: JobReport) -> Self:
        """Record what the job has done; returns the error, like `with_traceback`."""
        self.report = report
        return self


class TooManyRejectsError(JobFailedError):
    """More records were rejected than `max_rejects` allows (or one, with `strict`)."""


class RejectedRecordError(DdbioError):
    """An item passed to a `BatchWriter` can't be written; the message begins with the reason's stable code."""


class DestinationError(JobFailedError):
    """The destination can't be written: the disk is full, access is denied, or the bucket is missing."""


class OutputClosedError(DestinationError):
    """The reader of standard output has closed it."""


class SourceError(JobFailedError):
    """The source can't be read: it is missing, changed while being read, or its compressed data is corrupt."""


class WireError(DdbioError):
    """A request to DynamoDB failed."""


class TransportError(WireError):
    """No reply: the connection was refused or reset, the name was not found, or a timeout elapsed.

    A write may still have taken effect.
    """


class CorruptReplyError(WireError):
    """The reply is invalid: its CRC32 differs, its body is truncated, or a required member is missing."""


class ServiceError(WireError):
    """The service answered with an error.

    `code` is the last part of `__type` (for example `ValidationException`), `status` the HTTP status, `reasons` the
    `ThrottlingReasons` (for example `TableReadProvisionedThroughputExceeded`), `resources` the ARNs to which they
    refer, and `request_id` the AWS request ID.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int,
        reasons: Sequence[str] = (),
        resources: Sequence[str] = (),
        request_id: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}", hint=hint)
        self.code = code
        self.status = status
        self.reasons = tuple(reasons)
        self.resources = tuple(resources)
        self.request_id = request_id


class ThrottledError(ServiceError):
    """The table, index, key range or account is over its capacity; ddbio slows down and retries."""

    @property
    def reason(self) -> str:
        """The first reason, or else the code, followed by the name of the index if it refers to one."""
        index = self.resources[0].partition("/index/")[2] if self.resources else ""
        return " ".join(filter(None, ((*self.reasons, self.code)[0], index)))


class CredentialsError(ServiceError):
    """The credentials are expired or not (yet) known; ddbio refreshes them and retries."""


class UnavailableError(ServiceError):
    """A temporary failure of the service (500, 503, replication conflict); ddbio retries."""


class RefusedError(ServiceError):
    """The service refused the request (validation, access, missing table); retrying can't help."""


class CertificateError(WireError):
    """The server's TLS certificate is not trusted; retrying can't help."""


class CredentialsUnavailableError(WireError):
    """The service refused the credentials, and a bounded number of attempts to get new ones failed."""
