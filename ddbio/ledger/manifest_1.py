"""Manifests of format 1, which the versions before format 2 wrote, read as those of today.

Format 1 kept the options of a job by English phrases, a position as `""`, `"end"` or a key, what the job used beside
its other totals, and all sources of an import in one text; it called the splits of the timeline lanes.
"""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import msgspec

from ddbio.ledger.identity import SourceFiles
from ddbio.ledger.positions import END, START, AfterKey
from ddbio.report import Spending

_SOURCE_FILES = re.compile(r"(\d+) of (\d+) bytes \(([0-9a-f]*)\)")


def upgrade(text: bytes) -> dict[str, Any]:
    """The document of a manifest of format 1 as one of format 2. Raises ValueError where it is not of format 1."""
    try:
        return _upgraded(msgspec.json.decode(text))
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError("it is not of format 1") from error


def _upgraded(document: dict[str, Any]) -> dict[str, Any]:
    files = [
        file
        | {
            "first": _position(file["first"]),
            "last": _position(file["last"]),
            "sealed": file["sealed"] and file.get("token") is None,
            "token": None,
        }
        for file in document["files"]
    ]
    for row in document.get("timeline", ()):
        row["splits"] = row.pop("lanes", 0)
    totals = document["totals"]
    totals["used"] = {each.name: totals.pop(each.name) for each in fields(Spending)}
    return document | {"ddbio_manifest": 2, "identity": _identity(document["identity"]), "files": files}


def _identity(old: dict[str, Any]) -> dict[str, Any]:
    options = {phrase.lower().replace(" ", "_"): value for phrase, value in old["what"].items()}
    if old["command"] == "export":
        return old | options | {"destination": old["place"]}
    return old | options | {"sources": [old["place"]], "source_files": _files(options["source_files"])}


def _files(text: str) -> dict[str, Any]:
    found = _SOURCE_FILES.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} does not describe source files")
    return msgspec.structs.asdict(SourceFiles(int(found[1]), int(found[2]), found[3]))


def _position(text: str) -> Any:
    position = AfterKey(text) if text not in ("", "end") else END if text else START
    return msgspec.to_builtins(position)
