"""AWS Signature Version 4, for requests whose body is available and whose URL has no query."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Protocol

import msgspec

from ddbio.errors import CredentialsUnavailableError

_UNSIGNED = frozenset({"expect", "transfer-encoding", "user-agent", "x-amzn-trace-id"})
"""Headers that proxies may change, so that no AWS client signs them."""


class Credentials(msgspec.Struct, frozen=True):
    """AWS credentials. `expiry` is in seconds since the epoch, or None where they do not expire or it is unknown."""

    access_key: str
    secret_key: str
    token: str | None = None
    expiry: float | None = None

    def __repr__(self) -> str:
        return f"Credentials(expiry={self.expiry})"


class CredentialProvider(Protocol):
    """Provides the credentials for all requests of a process."""

    async def get(self) -> Credentials:
        """The current credentials; called once per request, so it must be cheap."""

    async def renew(self, stale: Credentials) -> Credentials:
        """Other credentials than `stale`, which the service has just rejected.

        Raises `CredentialsUnavailableError` where there are none.
        """


class StaticCredentials:
    """A provider of credentials that never change."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def get(self) -> Credentials:
        return self._credentials

    async def renew(self, stale: Credentials) -> Credentials:  # noqa: ARG002 - the protocol's parameter
        raise CredentialsUnavailableError("The service refused the credentials, and there are no others.")


@dataclass(frozen=True, slots=True, repr=False)
class _Prepared:
    """The parts of a signature that requests share if they differ only in their bodies."""

    asked: tuple[str, str, str, dict[str, str], Credentials, datetime]
    key: bytes
    added: dict[str, str]
    canonical: str
    to_sign: str
    authorization: str


class Signer:
    """Signs requests to one service in one region; may be used from several threads.

    The signing key is derived once per secret and day; everything else that does not depend on the body, once a second.
    """

    def __init__(self, region: str, service: str) -> None:
        self._region = region
        self._service = service
        self._key: tuple[str, str, bytes] | None = None
        self._prepared: _Prepared | None = None

    def sign(
        self,
        method: str,
        host: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        credentials: Credentials,
        now: datetime,
    ) -> dict[str, str]:
        """The headers to add to a request with these `headers`. `host` is the value of the Host header; `path` is
        URI-encoded; `now` is in UTC.
        """
        asked = method, host, path, dict(headers), credentials, now.replace(microsecond=0)
        prepared = self._prepared
        if prepared is None or prepared.asked != asked:
            prepared = self._prepared = self._prepare(*asked)
        canonical = prepared.canonical + sha256(body).hexdigest()
        signature = _hmac(prepared.key, prepared.to_sign + sha256(canonical.encode()).hexdigest()).hex()
        return {**prepared.added, "Authorization": prepared.authorization + signature}

    def _prepare(
        self, method: str, host: str, path: str, headers: dict[str, str], credentials: Credentials, now: datetime
    ) -> _Prepared:
        stamp = now.strftime("%Y%m%dT%H%M%SZ")
        date = stamp[:8]
        added = {"X-Amz-Date": stamp}
        if credentials.token:
            added["X-Amz-Security-Token"] = credentials.token
        signed = {"host": host}
        for name, value in (*headers.items(), *added.items()):
            signed[name.lower()] = " ".join(value.split())
        names = sorted(signed.keys() - _UNSIGNED)
        listed = ";".join(names)
        lines = "\n".join([f"{name}:{signed[name]}" for name in names])
        scope = f"{date}/{self._region}/{self._service}/aws4_request"
        credential = f"{credentials.access_key}/{scope}"
        return _Prepared(
            asked=(method, host, path, headers, credentials, now),
            key=self._signing_key(credentials.secret_key, date),
            added=added,
            canonical=f"{method}\n{path}\n\n{lines}\n\n{listed}\n",
            to_sign=f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n",
            authorization=f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={listed}, Signature=",
        )

    def _signing_key(self, secret: str, date: str) -> bytes:
        known = self._key
        if known is not None and known[0] == secret and known[1] == date:
            return known[2]
        key = f"AWS4{secret}".encode()
        for part in (date, self._region, self._service, "aws4_request"):
            key = _hmac(key, part)
        self._key = secret, date, key
        return key


def _hmac(key: bytes, message: str) -> bytes:
    return hmac.digest(key, message.encode(), "sha256")
