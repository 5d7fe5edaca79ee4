"""Failures of S3 and its client: which are transient, and how they become errors that a person can act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
from botocore import exceptions as boto

from ddbio import retry
from ddbio.errors import DestinationError, PreflightError, SourceError

_CREDENTIALS = "Check the credentials (AWS_PROFILE, --profile, or the environment)."
_REGION = "Give the region that the bucket lives in."
_PERMISSIONS = (
    "Allow these credentials s3:ListBucket and s3:ListBucketMultipartUploads on the bucket, and s3:GetObject, "
    "s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload and s3:ListMultipartUploadParts on its objects (and the "
    "use of its KMS key, if it has one)."
)
_PRESSURE = "S3 throttled requests for longer than the retries lasted: run again, or with less concurrency."
_FAILURE = "S3 failed for longer than the retries lasted: run again later."
_HINTS = {
    "NoSuchBucket": "There is no such bucket: create it, or check its name.",
    "AccessDenied": _PERMISSIONS,
    "403": _PERMISSIONS,
    "AllAccessDisabled": _PERMISSIONS,
    "InvalidAccessKeyId": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "ExpiredToken": _CREDENTIALS,
    "InvalidToken": _CREDENTIALS,
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "SlowDown": _PRESSURE,
    "ServiceUnavailable": _PRESSURE,
    "503": _PRESSURE,
    "InternalError": _FAILURE,
    "500": _FAILURE,
}
# aiohttp raises its own errors for a body that breaks off.
_NETWORK = (boto.ConnectionError, boto.HTTPClientError, boto.IncompleteReadError, aiohttp.ClientError)
_UNREADABLE = (LookupError, TypeError, ValueError, RecursionError)
"""What comes of a reply that lacks a member, has one of another type, or redirects without naming a region."""


def is_transient(error: Exception) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, boto.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return retry.is_transient_in_s3(code_of(error), status)
    # A certificate that is not trusted stays so.
    return isinstance(error, (*_NETWORK, boto.FlexibleChecksumError)) and not isinstance(error, boto.SSLError)


def code_of(error: boto.ClientError) -> str:
    """The service's error code; a HEAD request has no body, so its code is the HTTP status (`404`)."""
    return str(error.response.get("Error", {}).get("Code", ""))


def failed(operation: str, code: str, message: str) -> boto.ClientError:
    """The error for one part of a request that succeeded as a whole."""
    return boto.ClientError({"Error": {"Code": code, "Message": message}}, operation)


def name_of(error: Exception) -> str:
    return code_of(error) if isinstance(error, boto.ClientError) else type(error).__name__


@contextmanager
def ignoring(*codes: str) -> Iterator[None]:
    """Suppress a refusal by the service with one of these error codes."""
    try:
        yield
    except boto.ClientError as error:
        if code_of(error) not in codes:
            raise


@contextmanager
def translated_errors(action: str, error_type: type[DestinationError | PreflightError | SourceError]) -> Iterator[None]:
    """Raise `error_type` for whatever S3 or its client raises inside; `action` says what was tried, and where."""
    try:
        yield
    except boto.ClientError as error:
        code = code_of(error)
        said = error.response.get("Error", {}).get("Message") or "no message"
        raise error_type(f"Could not {action}: {code}: {said.rstrip('.')}.", hint=_HINTS.get(code)) from error
    except boto.NoCredentialsError as error:
        raise error_type(f"Could not {action}: there are no credentials.", hint=_CREDENTIALS) from error
    except _NETWORK as error:
        hint = "Check the network and the endpoint URL."
        raise error_type(f"Could not {action}: {_line(error)}.", hint=hint) from error
    except boto.BotoCoreError as error:
        raise error_type(f"Could not {action}: {_line(error)}.") from error
    except _UNREADABLE as error:
        hint = "Check the endpoint, and look for a proxy or a login page that answers in its place."
        raise error_type(f"Could not {action}: the reply is not one of S3's.", hint=hint) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
