"""Where files go to and come from: a local folder, S3, or the standard streams."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ddbio.errors import UsageError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")


@dataclass(frozen=True)
class Local:
    """A file, a folder or (as a source) a glob of the local file system."""

    path: str


@dataclass(frozen=True)
class S3:
    """An S3 bucket and a key or prefix in it, which may be empty."""

    bucket: str
    prefix: str


@dataclass(frozen=True)
class Std:
    """Standard input or output."""


Location = Local | S3 | Std


def parse_location(text: str) -> Location:
    """Read a source or destination as a person writes it: `-`, `s3://bucket/prefix`, or a path; raises UsageError."""
    if text == "-":
        return Std()
    if not text.strip():
        raise UsageError(
            "A location can't be empty.", hint="Give a path, s3://bucket/prefix, or - for a standard stream."
        )
    if "\0" in text:
        raise UsageError(f"{text!r} holds a NUL byte; no place has one.", hint="Give a path, s3://bucket/prefix, or -.")
    scheme = _SCHEME.match(text)
    if scheme is None:
        return Local(text)
    if scheme[1].lower() != "s3":
        raise UsageError(f"{text!r} is not a place that ddbio knows.", hint="Give a path, s3://bucket/prefix, or -.")
    bucket, _, prefix = text[scheme.end() :].partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise UsageError(f"{text!r} names no valid bucket.", hint="Write s3://bucket/prefix.")
    return S3(bucket, prefix)
