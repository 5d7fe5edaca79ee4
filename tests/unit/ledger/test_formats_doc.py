"""`docs/durable-formats.md` names exactly the members that the formats have."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from ddbio.jobs.control_file import Changes
from ddbio.ledger.chunks import VERSION, Head
from ddbio.ledger.entries import (
    Commit,
    Compacted,
    FileState,
    JournalEntry,
    KnownFile,
    KnownSplit,
    Opened,
    Recovered,
    Split,
    SplitState,
    Used,
)
from ddbio.ledger.identity import ExportIdentity, ImportIdentity, SourceFiles
from ddbio.ledger.manifest import VERSION as MANIFEST_VERSION
from ddbio.ledger.manifest import Manifest, TableRecord, Totals
from ddbio.ledger.positions import AfterKey, AtEnd, AtOffset, AtStart, Position
from ddbio.ledger.rejects import RejectLine
from ddbio.report import Moment
from ddbio.storage.holder import Holder
from ddbio.storage.tokens import LocalToken, Token, UploadToken

TEXT = (Path(__file__).parents[3] / "docs" / "durable-formats.md").read_text()
COMMON = ("account", "region", "table", "table_id", "keys")
"""Members of every identity, which the text names before the tables."""
Kind = type[msgspec.Struct]


def table(heading: str, number: int = 0) -> dict[str, str]:
    """The rows of a section's table: the first cell, and the rest."""
    section = re.split(r"^#+ ", TEXT.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    rows = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)[number].splitlines()[2:]
    return dict(row.strip("| ").split("|", 1) for row in rows)


def names(text: str) -> list[str]:
    return re.findall(r"`(\w+)`", text)


def members(kind: Kind) -> list[str]:
    return list(kind.__struct_fields__)


@pytest.mark.parametrize(
    ("heading", "number", "kind", "others"),
    [
        ("Identity", 0, ExportIdentity, COMMON),
        ("Identity", 1, ImportIdentity, COMMON),
        ("File", 0, FileState, ()),
        ("Manifest", 0, Manifest, ()),
        ("Journal", 0, Head, ()),
        ("Rejects file", 0, RejectLine, ()),
        ("Lock", 0, Holder, ()),
        ("Control file", 0, Changes, ()),
    ],
)
def test_a_table_has_all_members(heading: str, number: int, kind: Kind, others: tuple[str, ...]) -> None:
    assert [*others, *(name for cell in table(heading, number) for name in names(cell))] == members(kind)


@pytest.mark.parametrize(
    ("heading", "number", "kinds"),
    [
        ("Position", 0, [AtStart, AfterKey, AtEnd, AtOffset]),
        ("Token", 0, [LocalToken, UploadToken]),
        ("Journal", 1, [Opened, Commit, Recovered, Used, Compacted, KnownSplit, KnownFile]),
    ],
)
def test_a_table_has_all_kinds_with_their_members(heading: str, number: int, kinds: list[Kind]) -> None:
    rows = {names(tag)[0]: names(rest.partition("|")[0]) for tag, rest in table(heading, number).items()}
    expected = {kind.__struct_config__.tag: members(kind) for kind in kinds}
    if heading == "Token":
        rows = {tag: [name for name in found if name in expected[tag]] for tag, found in rows.items()}
    assert rows == expected


def test_the_tables_have_all_kinds_that_there_are() -> None:
    assert set(Position.__args__) == {AtStart, AfterKey, AtEnd, AtOffset}
    assert set(Token.__args__) == {LocalToken, UploadToken}
    assert set(JournalEntry.__args__) == {Opened, Commit, Recovered, Used, Compacted, KnownSplit, KnownFile}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (table("Manifest")["`table` "], TableRecord),
        (table("Manifest")["`totals` "], Totals),
        (table("Manifest")["`timeline` "], Moment),
        (table("Identity", 1)["`source_files` "], SourceFiles),
        (table("Journal", 1)["`split` "].partition("`state` has")[2], SplitState),
        (TEXT.partition("A span in `splits` has")[2].partition("\n\n")[0], Split),
    ],
)
def test_what_is_told_in_a_sentence_is_whole(text: str, kind: type) -> None:
    assert names(text) == list(getattr(kind, "__struct_fields__", getattr(kind, "__dataclass_fields__", ())))


def test_the_formats_have_the_numbers_that_they_say() -> None:
    assert table("Manifest")["`ddbio_manifest` "].strip().endswith(f"| {MANIFEST_VERSION}")
    assert table("Journal")["`ddbio_journal` "].strip().endswith(f"| {VERSION}")
