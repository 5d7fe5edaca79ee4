"""The manifest: what a later import, or a person, learns from it."""

from __future__ import annotations

import json

import pytest

from ddbio.errors import SourceError
from ddbio.ledger.manifest import read_files, read_types


def test_hints_and_files_are_read() -> None:
    hints = {"tags": "SS", "photos[].data": "B", "naïve\\.name": "NS"}
    names = ["T-0000-00001.json", "T-12345-00000.json.zst"]
    others = ["a", "U-0000-00001.json", "../T-0000-00001.json", "T-0000-00001.json.bz2", "T-U-0000-00001.json"]
    files = [{"name": name} for name in (*names, *others)]
    members = {"ddbio_manifest": 1, "identity": {"table": "T"}, "files": files, "type_hints": hints}
    text = json.dumps(members).encode()
    assert read_types(text, "here").type_hints == hints
    assert read_files(text, "here") == names


def test_what_a_later_version_adds_does_not_matter() -> None:
    files = [{"name": "T-0000-00001.json", "more": 1}]
    identity = {"table": "T", "more": {}}
    members = {"ddbio_manifest": 1, "identity": identity, "files": files, "type_hints": {"a": "BS"}, "more": []}
    text = json.dumps(members).encode()
    assert read_types(text, "here").type_hints == {"a": "BS"}
    assert read_files(text, "here") == ["T-0000-00001.json"]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"ddbio_manifest":1,"type_hints":{"\xff":"SS"}}',
        b'{"ddbio_manifest":2,"type_hints":{}}',
        b'{"ddbio_manifest":1,"type_hints":{"a":"S"}}',
        b'{"type_hints":{}}',
        b'{"ddbio_manifest":1}',
    ],
)
def test_one_that_can_not_be_understood_is_refused_with_its_place(text: bytes) -> None:
    with pytest.raises(SourceError, match="s3://bucket/prefix"):
        read_types(text, "s3://bucket/prefix")
