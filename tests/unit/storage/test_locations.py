"""How a source or destination is read from what a person writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddbio.errors import UsageError
from ddbio.jobs.identity import absolute
from ddbio.storage import S3, Local, Location, Std, parse_location


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-", Std()),
        ("out", Local("out")),
        ("./-", Local("./-")),
        ("/data/*.json", Local("/data/*.json")),
        ("./s3:/odd", Local("./s3:/odd")),
        ("~", Local("/home/me")),
        ("~/out/", Local("/home/me/out/")),
        ("./~/out", Local("./~/out")),
        ("s3://my-bucket", S3("my-bucket", "")),
        ("s3://my-bucket/", S3("my-bucket", "")),
        ("S3://my.bucket_1/a b/c/", S3("my.bucket_1", "a b/c/")),
    ],
)
def test_a_location_is_told_by_its_form(text: str, expected: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
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


@pytest.mark.parametrize("text", ["s3:/bucket/x", "s3:bucket/x", "S3:/bucket/x"])
def test_a_mistyped_place_in_s3_is_no_folder(text: str) -> None:
    with pytest.raises(UsageError, match=r"Did you mean s3://bucket/x\?") as caught:
        parse_location(text)
    assert parse_location(f"./{text}") == Local(f"./{text}")
    assert f"./{text}" in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["d\udcff", "~/\udcff", "s3://bucket/\udcff", "gs://\udcff"])
def test_a_name_that_is_not_utf8_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match=r"\\udcff' is not UTF-8"):
        parse_location(text)


def test_a_name_below_a_folder_that_is_not_utf8_is_wrong_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "d\udcff"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(UsageError, match="is not UTF-8"):
        absolute("out")
    assert absolute(str(tmp_path)) == str(tmp_path)
