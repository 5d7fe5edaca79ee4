"""Every error that ddbio raises, in one tree.

An error names what was tried and where, and `hint` says what the person can do next. Messages never hold
credentials or item contents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from ddbio.report import JobReport


class DdbioError(Exception):
    """The root of the tree: catch this to catch everything that ddbio raises on purpose."""

    resumable = False
    """The job's journal is valid: `resume` goes on where it stopped."""

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
    """The options don't fit each other or the table: nothing was tried (exit code 2)."""


class PreflightError(DdbioError):
    """Something that the job needs is missing or forbidden; found before the first paid request."""


class NoInputError(PreflightError):
    """The source is there, and holds no input file."""


class JobLockedError(PreflightError):
    """Another job is at work in the same place, or has taken it over."""


class JobFailedError(DdbioError):
    """The job began and could not be finished."""


class LedgerError(JobFailedError):
    """The counts that must agree do not: items were lost or written twice."""


class JournalError(JobFailedError):
    """The journal of an unfinished job can't be trusted, so the job can't be resumed."""


class CheckpointMismatchError(UsageError):
    """The job to be resumed is not the one that was begun; both values are named."""


class UnfinishedJobError(UsageError):
    """An unfinished job lies where this one is to begin."""


class WorkerLostError(JobFailedError):
    """A worker process ended before its work did."""


class LimitReachedError(JobFailedError):
    """The job has used the units or the time that it was given, and was not done by then."""

    report: JobReport | None = None
    """What it has done."""

    def with_report(self, report: JobReport) -> Self:
        """Record what the job has done; returns the error, like `with_traceback`."""
        self.report = report
        return self


class TooManyRejectsError(JobFailedError):
    """More records were rejected than `max_rejects` allows (or one, with `strict`)."""


class RejectedRecordError(DdbioError):
    """One item that was handed to a writer can't be written; the message says why, by its stable reason code."""


class DestinationError(JobFailedError):
    """The destination could not be written: disk full, permission, bucket."""


class OutputClosedError(DestinationError):
    """Whoever read standard output has closed it, perhaps because they had enough."""


class SourceError(JobFailedError):
    """The source could not be read: missing, changed while it was read, or a broken compressed stream."""


class WireError(DdbioError):
    """One attempt at a data-plane call failed; `ddbio.retry` decides what follows."""


class TransportError(WireError):
    """No reply: connection refused or reset, name not found, timeout. A put may still have landed."""


class CorruptReplyError(WireError):
    """A reply that can't be trusted: CRC32 differs, the body is cut, or a required member is missing."""


class ServiceError(WireError):
    """The service answered with an error.

    `code` is the last part of `__type` (for example `ValidationException`), `status` the HTTP status, `reasons`
    the `ThrottlingReasons` (for example `TableReadProvisionedThroughputExceeded`), `resources` the ARNs that they are
    about, `request_id` the AWS request id.
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
    """The table, index, key range or account is over its capacity: slow down and try again."""

    @property
    def reason(self) -> str:
        """The first of the reasons, with the name of the index that it is about, if any; else the code."""
        index = self.resources[0].partition("/index/")[2] if self.resources else ""
        return " ".join(filter(None, ((*self.reasons, self.code)[0], index)))


class CredentialsError(ServiceError):
    """The credentials expired or are not (yet) known: get new ones and try again."""


class UnavailableError(ServiceError):
    """A passing failure of the service (500, 503, replication conflict): try again."""


class RefusedError(ServiceError):
    """The request itself is refused (validation, access, missing table): trying again can't help."""


class CertificateError(WireError):
    """The server's TLS certificate is not trusted: trying again can't help."""


class CredentialsUnavailableError(WireError):
    """The service refused the credentials, and no others could be had within a bounded number of tries."""
