"""Failures of control-plane calls and of the credential chain, as errors that a person can act on."""

from __future__ import annotations

from ddbio.errors import CredentialsUnavailableError, DdbioError, PreflightError, UsageError
from ddbio.retry import REFUSED_CREDENTIALS

_MAX_MESSAGE = 300


def explained(error: Exception, doing: str, endpoint: str) -> DdbioError:
    """The error to raise for a control-plane call to `endpoint` that failed; `doing` says what was tried."""
    from botocore import exceptions as known  # noqa: PLC0415

    code = code_of(error)
    hint = None
    if isinstance(error, known.ParamValidationError):
        return UsageError(f"{doing} is not possible: {first_line(error)}")
    if isinstance(error, known.SSLError):
        hint = "If a proxy or an endpoint of your own is in the way, name its certificates with AWS_CA_BUNDLE."
    elif isinstance(error, (known.HTTPClientError, known.ConnectionError)):
        hint = f"Check the network, the proxy, the region and the endpoint: {endpoint} can't be reached."
    elif code in REFUSED_CREDENTIALS:
        hint = "Check the keys or the profile, the endpoint, and that this machine's clock is right."
    elif code in ("AccessDeniedException", "AccessDenied", "403"):
        hint = "Allow the action to this user or role, or use another profile."
    return PreflightError(f"{doing} failed: {first_line(error)}", hint=hint)


def credentials_error(error: Exception) -> DdbioError:
    from botocore import exceptions as known  # noqa: PLC0415

    sdk = (known.CredentialRetrievalError, known.MetadataRetrievalError, known.HTTPClientError, known.ConnectionError)
    refused = isinstance(error, known.ClientError) and error.response["ResponseMetadata"]["HTTPStatusCode"] < 500
    message = f"AWS credentials could not be obtained: {first_line(error)}"
    if isinstance(error, (*sdk, RuntimeError, OSError)) and not refused:
        return CredentialsUnavailableError(message)
    return PreflightError(message, hint="Check --profile and the AWS configuration, or log in again.")


def code_of(error: Exception) -> str:
    """The service's error code; empty where the error is none of a service's."""
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def first_line(error: Exception) -> str:
    """The first line of a message: what follows it in a signature error is the request, session token included."""
    return str(error).partition("\n")[0][:_MAX_MESSAGE]
