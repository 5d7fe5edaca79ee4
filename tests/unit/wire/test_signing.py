"""The signer, with botocore's as the oracle."""

from __future__ import annotations

from datetime import UTC, datetime
from unittest import mock

import pytest
from botocore import auth, awsrequest
from botocore.credentials import Credentials as Keys
from hypothesis import given, settings
from hypothesis import strategies as st

from ddbio.errors import CredentialsUnavailableError
from ddbio.wire.signing import Credentials, Signer, StaticCredentials

SECRETS = Credentials("AKIAEXAMPLE", "a-secret-that-nobody-sees", "a-token-that-nobody-sees", 1_000.0)
text = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=100)
names = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,20}", fullmatch=True)
reserved = {"host", "date", "authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"}
values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
headers = st.dictionaries(names.filter(lambda name: name.lower() not in reserved), values, max_size=6).filter(
    lambda found: len({name.lower() for name in found}) == len(found)
)
hosts = st.builds(
    "{}{}".format,
    st.sampled_from(["dynamodb.eu-west-1.amazonaws.com", "127.0.0.1", "localhost", "[::1]"]),
    st.sampled_from(["", ":8000", ":4567"]),
)
moments = st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))


def botocore_headers(
    url: str, sent: dict[str, str], body: bytes, credentials: Credentials, now: datetime, region: str
) -> dict[str, str]:
    keys = Keys(credentials.access_key, credentials.secret_key, credentials.token)
    request = awsrequest.AWSRequest("POST", url, headers=dict(sent), data=body)
    with mock.patch.object(auth, "get_current_datetime", return_value=now):
        auth.SigV4Auth(keys, "dynamodb", region).add_auth(request)
    return {name: value for name, value in request.headers.items() if name not in sent}


@given(
    hosts,
    headers,
    st.binary(max_size=200),
    st.builds(Credentials, text, text, st.none() | text),
    moments,
    st.sampled_from(["eu-west-1", "us-gov-west-1", "local"]),
)
@settings(deadline=None)
def test_signs_as_botocore_does(
    host: str, sent: dict[str, str], body: bytes, credentials: Credentials, now: datetime, region: str
) -> None:
    expected = botocore_headers(f"http://{host}/", sent, body, credentials, now, region)
    added = Signer(region, "dynamodb").sign(
        "POST", host, "/", headers=sent, body=body, credentials=credentials, now=now
    )
    assert added == expected


def test_a_signer_follows_a_change_of_day_and_of_secret() -> None:
    signer = Signer("eu-west-1", "dynamodb")
    sent = {"Content-Type": "application/x-amz-json-1.0"}
    for credentials in (SECRETS, Credentials("AKIAOTHER", "another"), SECRETS):
        for now in (datetime(2026, 11, 23, 23, 59, 59, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC)):
            added = signer.sign("POST", "h:1", "/a/path", headers=sent, body=b"{}", credentials=credentials, now=now)
            assert added == botocore_headers("http://h:1/a/path", sent, b"{}", credentials, now, "eu-west-1")


def test_credentials_hide_their_secrets() -> None:
    shown = f"{SECRETS!r} {SECRETS} {[SECRETS]}"
    assert "nobody-sees" not in shown
    assert "AKIA" not in shown


async def test_static_credentials_can_not_be_renewed() -> None:
    source = StaticCredentials(SECRETS)
    assert await source.get() == SECRETS
    with pytest.raises(CredentialsUnavailableError):
        await source.renew(SECRETS)
