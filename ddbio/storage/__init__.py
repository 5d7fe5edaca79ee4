"""Sources and destinations of files: local folders, S3, and the standard streams."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from ddbio.errors import UsageError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_MISTYPED = re.compile(r"s3:/*", re.IGNORECASE)
"""The beginning of a mistyped URL, more likely than of a path; `./s3:x` names such a path."""
_LOCATIONS = "Give a path, s3://bucket/prefix, or -."
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
    """Parse the text that names a source or destination: `-`, `s3://bucket/prefix`, or a path; raises UsageError.

    A leading `~` or `~user` is expanded, since the shell does not expand it within quotes.
    """
    if text == "-":
        return Std()
    if not text.strip():
        raise UsageError("A location can't be empty.", hint=f"{_LOCATIONS[:-1]} for a standard stream.")
    check_encoding(text)
    if "\0" in text:
        raise UsageError(f"{text!r} holds a NUL byte, which no location may.", hint=_LOCATIONS)
    scheme = _SCHEME.match(text)
    if scheme is None:
        if mistyped := _MISTYPED.match(text):
            hint = f"Did you mean s3://{text[mistyped.end() :].lstrip('/')}? A local folder of that name is ./{text}."
            raise UsageError(f"{text!r} is not a location that ddbio supports.", hint=hint)
        return Local(home_path(text))
    if scheme[1].lower() != "s3":
        raise UsageError(f"{text!r} is not a location that ddbio supports.", hint=_LOCATIONS)
    bucket, _, prefix = text[scheme.end() :].partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise UsageError(f"{text!r} names no valid bucket.", hint="Write s3://bucket/prefix.")
    return S3(bucket, prefix)


def home_path(path: str) -> str:
    """A path with a leading `~` or `~user` expanded, where there is such a home; raises UsageError."""
    found = os.path.expanduser(path)  # noqa: PTH111 - Path drops a trailing slash, and fails where there is no home
    check_encoding(found)
    return found


def check_encoding(text: str) -> None:
    """Raise UsageError for a name that neither a journal nor a manifest could hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"The name {text!r} is not UTF-8.", hint="Give the file or folder another name.") from None
