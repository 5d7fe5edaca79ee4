"""ddbio moves whole DynamoDB tables to JSON files and back.

The names in `__all__` are the public interface; everything else may change.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ddbio.capacity.control import Control
    from ddbio.errors import (
        CertificateError,
        CheckpointMismatchError,
        CorruptReplyError,
        CredentialsError,
        CredentialsUnavailableError,
        DdbioError,
        DestinationError,
        JobFailedError,
        JobLockedError,
        JournalError,
        LedgerError,
        LimitReachedError,
        NoInputError,
        OutputClosedError,
        PreflightError,
        RefusedError,
        RejectedRecordError,
        ServiceError,
        SourceError,
        ThrottledError,
        TooManyRejectsError,
        TransportError,
        UnavailableError,
        UnfinishedJobError,
        UsageError,
        WireError,
        WorkerLostError,
    )
    from ddbio.events import (
        CheckPlanned,
        Event,
        JobPlanned,
        Observer,
        ProblemFound,
        Progress,
        RecordsRejected,
        Steered,
        Warned,
    )
    from ddbio.items import BatchWriter, ScanOptions, WriterOptions, scan
    from ddbio.jobs.export import export_table
    from ddbio.jobs.import_ import import_table
    from ddbio.jobs.verify import verify_export
    from ddbio.options import (
        Capacity,
        Connection,
        ExportOptions,
        ImportOptions,
        S3Options,
        ScanFilter,
        VerifyOptions,
    )
    from ddbio.report import Difference, JobReport, Moment, Rejection, Spending, VerifyReport

_HOMES = {
    "export_table": "jobs.export",
    "import_table": "jobs.import_",
    "Control": "capacity.control",
    "BatchWriter": "items",
    "ScanOptions": "items",
    "WriterOptions": "items",
    "scan": "items",
    "CertificateError": "errors",
    "CheckpointMismatchError": "errors",
    "CorruptReplyError": "errors",
    "CredentialsError": "errors",
    "CredentialsUnavailableError": "errors",
    "DdbioError": "errors",
    "DestinationError": "errors",
    "JobFailedError": "errors",
    "JobLockedError": "errors",
    "JournalError": "errors",
    "LedgerError": "errors",
    "LimitReachedError": "errors",
    "NoInputError": "errors",
    "OutputClosedError": "errors",
    "PreflightError": "errors",
    "RefusedError": "errors",
    "RejectedRecordError": "errors",
    "ServiceError": "errors",
    "SourceError": "errors",
    "ThrottledError": "errors",
    "TooManyRejectsError": "errors",
    "TransportError": "errors",
    "UnavailableError": "errors",
    "UnfinishedJobError": "errors",
    "UsageError": "errors",
    "WireError": "errors",
    "WorkerLostError": "errors",
    "CheckPlanned": "events",
    "Event": "events",
    "JobPlanned": "events",
    "Observer": "events",
    "ProblemFound": "events",
    "Progress": "events",
    "RecordsRejected": "events",
    "Steered": "events",
    "Warned": "events",
    "Capacity": "options",
    "Connection": "options",
    "ExportOptions": "options",
    "ImportOptions": "options",
    "S3Options": "options",
    "ScanFilter": "options",
    "VerifyOptions": "options",
    "Difference": "report",
    "JobReport": "report",
    "Moment": "report",
    "Rejection": "report",
    "Spending": "report",
    "VerifyReport": "report",
    "verify_export": "jobs.verify",
}

__all__ = [
    "BatchWriter",
    "Capacity",
    "CertificateError",
    "CheckPlanned",
    "CheckpointMismatchError",
    "Connection",
    "Control",
    "CorruptReplyError",
    "CredentialsError",
    "CredentialsUnavailableError",
    "DdbioError",
    "DestinationError",
    "Difference",
    "Event",
    "ExportOptions",
    "ImportOptions",
    "JobFailedError",
    "JobLockedError",
    "JobPlanned",
    "JobReport",
    "JournalError",
    "LedgerError",
    "LimitReachedError",
    "Moment",
    "NoInputError",
    "Observer",
    "OutputClosedError",
    "PreflightError",
    "ProblemFound",
    "Progress",
    "RecordsRejected",
    "RefusedError",
    "RejectedRecordError",
    "Rejection",
    "S3Options",
    "ScanFilter",
    "ScanOptions",
    "ServiceError",
    "SourceError",
    "Spending",
    "Steered",
    "ThrottledError",
    "TooManyRejectsError",
    "TransportError",
    "UnavailableError",
    "UnfinishedJobError",
    "UsageError",
    "VerifyOptions",
    "VerifyReport",
    "Warned",
    "WireError",
    "WorkerLostError",
    "WriterOptions",
    "export_table",
    "import_table",
    "scan",
    "verify_export",
]


def __getattr__(name: str) -> Any:
    # Modules are loaded at first use, so that `ddbio --help` and worker processes start quickly.
    if name not in _HOMES:
        raise AttributeError(f"module 'ddbio' has no attribute {name!r}")
    return getattr(import_module(f"ddbio.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
