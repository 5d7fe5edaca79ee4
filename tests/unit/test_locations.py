"""How a source or destination is read from what a person writes."""

from __future__ import annotations

import pytest

from ddbio.errors import UsageError
from ddbio.storage import S3, Local, Location, Std, parse_location


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-", Std()),
        ("out", Local("out")),
        ("./-", Local("./-")),
        ("/data/*.json", Local("/data/*.json")),
        ("s3:/odd", Local("s3:/odd")),
        ("s3://my-bucket", S3("my-bucket", "")),
        ("s3://my-bucket/", S3("my-bucket", "")),
        ("S3://my.bucket_1/a b/c/", S3("my.bucket_1", "a b/c/")),
    ],
)
def test_a_location_is_told_by_its_form(text: str, expected: Location) -> None:
    assert parse_location(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "s3://",
        "s3:///key",
        "s3://a/key",
        "s3://my bucket/x",
        "gs://bucket/x",
        "file:///x",
        "a\0b",
        "s3://bucket/\0",
    ],
)
def test_what_is_no_location_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="s3://bucket/prefix"):
        parse_location(text)
