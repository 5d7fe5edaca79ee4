"""Manifests that are not what an export wrote: single changes, row by row and at random."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import strategies as st

GOLDEN = Path(__file__).parents[1] / "golden" / "manifest-2-without-checksum"
"""An export of four files, from whose manifest the checksum was removed."""
Document = dict[str, Any]
Where = tuple[str | int, ...]
START, END = {"at": "start"}, {"at": "end"}
KEY = {"at": "key", "key": '{"hash":{"S":"h"}}'}


class Damage(NamedTuple):
    """A change to the golden manifest, and a part of what is said of it."""

    name: str
    change: Callable[[Document], object]
    told: str


def put(*where: str | int, value: object) -> Callable[[Document], object]:
    """Give a member another value."""

    def change(document: Document) -> None:
        parent(document, where)[where[-1]] = value

    return change


def drop(*where: str | int) -> Callable[[Document], object]:
    """Take a member out."""
    return lambda document: parent(document, where).pop(where[-1])


def parent(document: Document, where: Where) -> Any:
    """What holds this member."""
    node: Any = document
    for step in where[:-1]:
        node = node[step]
    return node


def again(document: Document) -> None:
    """List a file twice, and count it twice."""
    file = document["files"][0]
    document["files"].append(file)
    document["totals"]["items"] += file["items"]
    document["totals"]["bytes"] += file["bytes"]


def continued(first: object, last: object) -> Callable[[Document], object]:
    """List a second file of the first one's segment with these positions, behind one that ends at `KEY`."""

    def change(document: Document) -> None:
        before = document["files"][0]
        before["last"] = KEY
        document["files"].append(before | {"name": "Golden-0000-00001.json", "number": 1, "first": first, "last": last})

    return change


CONTRADICTIONS: tuple[Damage, ...] = (
    Damage("too few items", drop("files", 1), "The manifest says 12 items in all, but the files that it lists have 10"),
    Damage("other bytes", put("totals", "bytes", value=7), "The manifest says 7 bytes in all"),
    Damage("no files", put("files", value=[]), "says 12 items in all, but the files that it lists have 0"),
    Damage("rejects", put("totals", "rejected", value=1), "rejected records"),
    Damage("a rejects file", put("totals", "rejects", value="x.jsonl"), "rejected records"),
    Damage("a file twice", again, "Golden-0000-00000.json: the manifest lists it 2 times."),
    Damage("another segment", put("files", 0, "segment", value=2), "Golden-0000-00000.json: as file 0 of segment 2"),
    Damage("a segment out of range", put("files", 3, "segment", value=4), "segment 4, but the export had 4 segments."),
    Damage("fewer segments", put("segments", value=3), "segment 3, but the export had 3 segments."),
    Damage("another number", put("files", 0, "number", value=1), "it would be Golden-0000-00001.json"),
    Damage("another name", put("files", 0, "name", value="Golden-0-0.json"), "it would be Golden-0000-00000.json"),
    Damage("a path", put("files", 0, "name", value="../Golden-0000-00000.json"), "it would be Golden-0000-00000.json"),
    Damage("another table", put("identity", "table", value="Other"), "it would be Other-0000-00000.json"),
    Damage("a compression", put("identity", "compress", value="gzip"), "would be Golden-0000-00000.json.gz"),
    Damage("not sealed", put("files", 0, "sealed", value=False), "it was not finished"),
    Damage("a token", put("files", 0, "token", value={"kind": "local", "part": "x"}), "it was not finished"),
    Damage("another count read", put("files", 0, "read", value=4), "4 items were read for it, and 3 written"),
    Damage("no fingerprint", put("files", 0, "fingerprint", value=None), "no fingerprint of it"),
    Damage("a fingerprint left out", drop("files", 0, "fingerprint"), "no fingerprint of it"),
    Damage("unwanted ones", put("identity", "fingerprint", value=False), "a fingerprint of it, but the export"),
    Damage("a path of one type and many", put("mixed", value=["tags"]), "both that tags held one type and that it"),
    Damage("the same beginning", continued(START, END), "Golden-0000-00001.json: the manifest says that it begins or"),
    Damage("the same end", continued(KEY, KEY), "begins or ends where an earlier file of its segment does."),
    Damage("a beginning at the end", continued(END, END), "begins or ends where"),
    Damage("another count", put("files", 0, "items", value=4), "it has 3 records, but the manifest says 4."),
    Damage("another CRC32", put("files", 0, "crc32", value=0), "but the manifest says 00000000."),
    Damage("a type lost", drop("type_hints", "tags"), "the fingerprint of its items"),
    Damage("another format", put("identity", "format", value="dynamodb-json"), "records can't be read"),
    Damage("another key", put("identity", "keys", 0, value=["x", "S"]), "records can't be read"),
)
"""What is told as a problem; in each other thing the verification goes on."""

USELESS: tuple[Damage, ...] = (
    Damage("no segments", put("segments", value=0), "1 to 1,000,000 segments, not 0"),
    Damage("too many segments", put("segments", value=10**9), "1 to 1,000,000 segments, not 1,000,000,000"),
    Damage("a negative count", put("files", 0, "items", value=-3), "`int` >= 0"),
    Damage("a negative segment", put("files", 0, "segment", value=-1), "`int` >= 0"),
    Damage("a negative total", put("totals", "used", "requests", value=-1), "negative"),
    Damage("a CRC32 of 33 bits", put("files", 0, "crc32", value=2**32), "<= 4294967295"),
    Damage("a short fingerprint", put("files", 0, "fingerprint", value="abc"), "fingerprint"),
    Damage("an unknown format", put("identity", "format", value="csv"), r"'csv' - at `\$.identity.format`"),
    Damage("no format", drop("identity", "format"), "missing required field `format`"),
    Damage("an unknown compression", put("identity", "compress", value="xz"), r"'xz' - at `\$.identity.compress`"),
    Damage("no filter", drop("identity", "filter_expression"), "missing required field `filter_expression`"),
    Damage("an unknown key type", put("identity", "keys", 0, 1, value="X"), "enum value 'X'"),
    Damage("no key", put("identity", "keys", value=[]), "1 to 2 attributes"),
    Damage("a long key", put("identity", "keys", value=[["a", "S"], ["b", "S"], ["c", "S"]]), "1 to 2 attributes"),
    Damage("one attribute twice", put("identity", "keys", value=[["a", "S"], ["a", "S"]]), "names of their own"),
    Damage("a key without a name", put("identity", "keys", 1, 0, value=""), "names of their own"),
    Damage("a hint without a type", put("type_hints", "tags", value="L"), "enum value 'L'"),
    Damage("a hint for no path", put("type_hints", "tags[", value="SS"), "not an attribute path"),
    Damage("an unknown command", put("identity", "command", value="copy"), "Invalid value 'copy'"),
    Damage("no files at all", drop("files"), "missing required field `files`"),
)
"""What ends the verification."""


class Change(NamedTuple):
    """A single change at random: what became of which member."""

    kind: str
    where: Where
    document: Document


@st.composite
def changes(draw: st.DrawFn, document: Document, wanted: Callable[[str, Where], bool] = lambda *_: True) -> Change:
    """The document with one member dropped, repeated, exchanged with its neighbour, made negative or another text."""
    kind, where = draw(st.sampled_from([each for each in _possible(document) if wanted(*each)]))
    changed = copy.deepcopy(document)
    _apply(kind, parent(changed, where), where[-1])
    return Change(kind, where, changed)


def _possible(document: Document) -> Iterator[tuple[str, Where]]:
    for where, value in _members(document, ()):
        node, place = parent(document, where), where[-1]
        yield "drop", where
        if isinstance(place, int):
            yield "repeat", where
        if node[_neighbour(node, place)] != value:
            yield "swap", where
        if isinstance(value, int | float | str):
            yield "alter", where


def _members(node: Any, where: Where) -> Iterator[tuple[Where, Any]]:
    steps = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for step, value in steps:
        yield (*where, step), value
        yield from _members(value, (*where, step))


def _neighbour(node: Any, place: str | int) -> str | int:
    steps = list(node) if isinstance(node, dict) else list(range(len(node)))
    return steps[steps.index(place) - 1]


def _apply(kind: str, node: Any, place: Any) -> None:
    match kind:
        case "drop":
            node.pop(place)
        case "repeat":
            node.insert(place, node[place])
        case "swap":
            other = _neighbour(node, place)
            node[place], node[other] = node[other], node[place]
        case "alter":
            node[place] = _other(node[place])


def _other(value: Any) -> Any:
    if isinstance(value, str):
        return value + "x"
    return not value if isinstance(value, bool) else -value - 1
