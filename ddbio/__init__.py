"""ddbio moves whole DynamoDB tables to JSON files and back.

What is named here is the public interface; everything else may change.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ddbio.api import export_table, import_table
    from ddbio.direct import BatchWriter, ScanOptions, WriterOptions, scan
    from ddbio.errors import DdbioError
    from ddbio.events import Event, JobPlanned, Observer, Progress, Warned
    from ddbio.options import Capacity, Connection, ExportOptions, ImportOptions, S3Options, ScanFilter
    from ddbio.report import JobReport

_HOMES = {
    "export_table": "api",
    "import_table": "api",
    "BatchWriter": "direct",
    "ScanOptions": "direct",
    "WriterOptions": "direct",
    "scan": "direct",
    "DdbioError": "errors",
    "Event": "events",
    "JobPlanned": "events",
    "Observer": "events",
    "Progress": "events",
    "Warned": "events",
    "Capacity": "options",
    "Connection": "options",
    "ExportOptions": "options",
    "ImportOptions": "options",
    "S3Options": "options",
    "ScanFilter": "options",
    "JobReport": "report",
}

__all__ = [
    "BatchWriter",
    "Capacity",
    "Connection",
    "DdbioError",
    "Event",
    "ExportOptions",
    "ImportOptions",
    "JobPlanned",
    "JobReport",
    "Observer",
    "Progress",
    "S3Options",
    "ScanFilter",
    "ScanOptions",
    "Warned",
    "WriterOptions",
    "export_table",
    "import_table",
    "scan",
]


def __getattr__(name: str) -> Any:
    # Loaded at first use, so that `ddbio --help` and worker processes start without what they don't need.
    if name not in _HOMES:
        raise AttributeError(f"module 'ddbio' has no attribute {name!r}")
    return getattr(import_module(f"ddbio.{_HOMES[name]}"), name)
