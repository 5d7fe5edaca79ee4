"""The manifest: what a later import, or a person, learns from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ddbio.errors import SourceError
from ddbio.ledger.manifest import Manifest, encode, read_files, read_manifest, read_types
from tests.kit.damage import GOLDEN

OLD = read_manifest((GOLDEN / "_ddbio" / "manifest.json").read_bytes(), "golden")
SEALED = encode(OLD)

ORIGIN = {"command": "export", "account": "1", "region": "r", "table": "T"}


def test_hints_and_files_are_read() -> None:
    hints = {"tags": "SS", "photos[].data": "B", "naïve\\.name": "NS"}
    names = ["T-0000-00001.json", "T-12345-00000.json.zst"]
    others = ["a", "U-0000-00001.json", "../T-0000-00001.json", "T-0000-00001.json.bz2", "T-U-0000-00001.json"]
    files = [{"name": name} for name in (*names, *others)]
    members = {"ddbio_manifest": 1, "identity": ORIGIN, "files": files, "type_hints": hints}
    text = json.dumps(members).encode()
    assert read_types(text, "here").type_hints == hints
    assert read_files(text, "here") == names


def test_what_a_later_version_adds_does_not_matter() -> None:
    files = [{"name": "T-0000-00001.json", "more": 1}]
    identity = {**ORIGIN, "more": {}}
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
        b'{"ddbio_manifest":0,"type_hints":{}}',
        b'{"ddbio_manifest":3,"type_hints":{}}',
        b'{"ddbio_manifest":true,"type_hints":{}}',
        b'{"ddbio_manifest":1,"type_hints":{"a":"S"}}',
        b'{"type_hints":{}}',
        b'{"ddbio_manifest":1}',
    ],
)
def test_one_that_cannot_be_understood_is_refused_by_place(text: bytes) -> None:
    with pytest.raises(SourceError, match="s3://bucket/prefix"):
        read_types(text, "s3://bucket/prefix")


@pytest.mark.parametrize("read", [read_types, read_files, read_manifest])
def test_a_manifest_of_a_later_format_is_refused_as_such(read: Callable[[bytes, str], object]) -> None:
    text = SEALED.replace(b'"ddbio_manifest": 2', b'"ddbio_manifest": 3')
    with pytest.raises(SourceError, match="of format 3; this version of ddbio reads formats 1 to 2") as caught:
        read(text, "here")
    assert caught.value.hint == "Use the version of ddbio that wrote it, or a later one."


def document() -> dict[str, Any]:
    """A manifest as it is written now."""
    found: dict[str, Any] = json.loads(SEALED)
    return found


def read(document: dict[str, Any], **form: Any) -> Manifest:
    return read_manifest(json.dumps(document, **form).encode(), "here")


def test_a_manifest_is_written_with_its_checksum_and_read_back() -> None:
    written = read_manifest(SEALED, "here")
    assert (OLD.checksum, len(written.checksum or "")) == (None, 64)
    assert encode(written) == SEALED


@pytest.mark.parametrize("form", [{"indent": 7}, {"separators": (",", ":")}, {"sort_keys": True}, {"ensure_ascii": 0}])
def test_a_manifest_may_be_reformatted(form: dict[str, Any]) -> None:
    said = document() | {"mixed": ["\u00e4\u2028\U0001f600"]}
    said["checksum"] = checksum(said)
    assert read(said, **form).checksum == said["checksum"]


@pytest.mark.parametrize(("mine", "other"), [("4.0", "4"), ("1e-7", "0.00000010"), ("1e17", "100000000000000000")])
def test_numbers_may_be_written_in_other_ways(mine: str, other: str) -> None:
    texts = [json.dumps(document() | {"more": "?"}).replace('"?"', number) for number in (mine, other)]
    first, second = (text.replace(document()["checksum"], checksum(json.loads(texts[0]))) for text in texts)
    assert first != second
    for text in (first, second):
        assert read_manifest(text.encode(), "here")


def checksum(document: dict[str, Any]) -> str:
    """The checksum as docs/verify.md describes it."""
    rest = {name: value for name, value in document.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(_whole(rest), sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _whole(value: Any) -> Any:
    """4.0 is 4."""
    if isinstance(value, dict):
        return {name: _whole(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@pytest.mark.parametrize("member", [{"more": []}, {"run": "other"}, {"checksum": "0" * 64}, {"segments": 5}])
def test_a_checksum_covers_every_member_also_of_a_later_version(member: dict[str, Any]) -> None:
    with pytest.raises(SourceError, match="The manifest of here is damaged: its checksum is wrong"):
        read(document() | member)
    later = document() | {"more": [{"a": 1.5}]}
    assert read(later | {"checksum": checksum(later)}) == msgspec.structs.replace(OLD, checksum=checksum(later))


@pytest.mark.parametrize("more", ["9" * 5_000, "[" * 100_000 + "]" * 100_000])
def test_what_no_version_writes_is_refused_in_words(more: str) -> None:
    text = json.dumps(document() | {"more": "?"}).replace('"?"', more)
    with pytest.raises(SourceError, match="The manifest of here can't be read"):
        read_manifest(text.encode(), "here")
