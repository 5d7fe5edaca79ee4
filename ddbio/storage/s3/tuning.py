"""The constants of the S3 storage that tests set otherwise."""

from __future__ import annotations

from dataclasses import dataclass

from ddbio import retry

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class S3Tuning:
    """Limits of the service, and how long to wait for it. In bytes and seconds."""

    retries: retry.Attempts = retry.S3
    smallest_part: int = 8 * MIB
    """S3 takes 5 MiB at least, the last part excepted (S3 User Guide, "Multipart upload limits")."""
    parts_in_flight: int = 4
    parts_of_file_in_flight: int = 2
    keys_per_deletion: int = 1_000
    """Most keys that one DeleteObjects takes (S3 API, DeleteObjects)."""
    discard_seconds: float = 1.2
    """How long discarding a file waits for S3; then the upload is left to the next run's sweep."""
    release_seconds: float = 0.5
    """How long a job that is stopped waits until its lock is released; it must stop within two seconds in all."""
    release_seconds_at_end: float = 10.0
    """The same for a job that ends by itself."""


DEFAULT = S3Tuning()
