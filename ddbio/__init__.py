"""ddbio moves whole DynamoDB tables to JSON files and back.

What is named here is the public interface; everything else may change.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ddbio.capacity.control import Control
    from ddbio.errors import DdbioError
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
    from ddbio.report import Difference, JobReport, Rejection, VerifyReport

_HOMES = {
    "export_table": "jobs.export",
    "import_table": "jobs.import_",
    "Control": "capacity.control",
    "BatchWriter": "items",
    "ScanOptions": "items",
    "WriterOptions": "items",
    "scan": "items",
    "DdbioError": "errors",
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
    "Rejection": "report",
    "VerifyReport": "report",
    "verify_export": "jobs.verify",
}

__all__ = [
    "BatchWriter",
    "Capacity",
    "CheckPlanned",
    "Connection",
    "Control",
    "DdbioError",
    "Difference",
    "Event",
    "ExportOptions",
    "ImportOptions",
    "JobPlanned",
    "JobReport",
    "Observer",
    "ProblemFound",
    "Progress",
    "RecordsRejected",
    "Rejection",
    "S3Options",
    "ScanFilter",
    "ScanOptions",
    "Steered",
    "VerifyOptions",
    "VerifyReport",
    "Warned",
    "WriterOptions",
    "export_table",
    "import_table",
    "scan",
    "verify_export",
]


def __getattr__(name: str) -> Any:
    # Loaded at first use, so that `ddbio --help` and worker processes start without what they don't need.
    if name not in _HOMES:
        raise AttributeError(f"module 'ddbio' has no attribute {name!r}")
    return getattr(import_module(f"ddbio.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
