"""ddbio moves whole DynamoDB tables to JSON files and back.

The names in `__all__` are the public interface; everything else may change.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
from ddbio.options import Capacity, Connection, ExportOptions, ImportOptions, S3Options, ScanFilter, VerifyOptions
from ddbio.report import Difference, JobReport, Moment, Rejection, Spending, VerifyReport

if TYPE_CHECKING:
    from ddbio.capacity.control import Control
    from ddbio.items import BatchWriter, ScanOptions, WriterOptions, scan
    from ddbio.jobs.export import export_table
    from ddbio.jobs.import_ import import_table
    from ddbio.jobs.verify import verify_export

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


_LAZY = {
    "BatchWriter": "items",
    "Control": "capacity.control",
    "ScanOptions": "items",
    "WriterOptions": "items",
    "export_table": "jobs.export",
    "import_table": "jobs.import_",
    "scan": "items",
    "verify_export": "jobs.verify",
}


def __getattr__(name: str) -> Any:
    # These are loaded at first use, so that `ddbio --help` and worker processes start quickly.
    if name not in _LAZY:
        raise AttributeError(f"module 'ddbio' has no attribute {name!r}")
    return getattr(import_module(f"ddbio.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*__all__, *globals()})
