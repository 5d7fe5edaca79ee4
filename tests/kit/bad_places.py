"""The table of odd places: what lies in a folder, and which of it is read.

Every file holds one record, whose key is the file's name, so that the table tells which files were read.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ddbio.errors import DdbioError, PreflightError, SourceError


@dataclass(frozen=True, kw_only=True)
class Place:
    """One odd place, made by `make` in the current folder; `source` is imported.

    `found` are the names of the files that must be read. An import ends with `error`, whose message holds `told`, if
    that is given: then nothing was written.
    """

    name: str
    make: Callable[[Path], object]
    source: str = "."
    found: tuple[str, ...] = ()
    error: type[DdbioError] | None = None
    told: str = ""


def files(*names: str) -> Callable[[Path], None]:
    """Files of these names, with the folders that they lie in."""

    def make(root: Path) -> None:
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(json.dumps({"pk": name}))

    return make


def also(make: Callable[[Path], object], *more: Callable[[Path], object]) -> Callable[[Path], None]:
    """One after the other."""

    def make_all(root: Path) -> None:
        for each in (make, *more):
            each(root)

    return make_all


def link(name: str, target: str) -> Callable[[Path], None]:
    """A symbolic link."""
    return lambda root: (root / name).symlink_to(target)


def pipe(name: str) -> Callable[[Path], None]:
    """A named pipe that nobody writes to."""
    return lambda root: os.mkfifo(root / name)


def listening(name: str) -> Callable[[Path], None]:
    """What a Unix socket leaves in a folder."""

    def make(root: Path) -> None:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.relpath(root / name))

    return make


def latin(root: Path) -> None:
    """A file whose name is not UTF-8."""
    Path(os.fsdecode(bytes(root) + b"/caf\xe9.json")).write_text('{"pk":"a"}')


def manifest(text: str) -> Callable[[Path], None]:
    """A manifest of an export, which the file `a.json` lies beside."""

    def make(root: Path) -> None:
        files("a.json")(root)
        (root / "_ddbio").mkdir()
        (root / "_ddbio" / "manifest.json").write_text(text)

    return make


def refused(
    name: str, make: Callable[[Path], object], source: str, told: str, error: type[DdbioError] = PreflightError
) -> Place:
    """A place that can't be imported."""
    return Place(name=name, make=make, source=source, error=error, told=told)


NONE = "holds no input file"

PLACES: tuple[Place, ...] = (
    Place(
        name="a folder with other files in it",
        make=files(
            "a.json", "b.JSONL", "c/d.ndjson", "README.md", "a.json.bak", "a.json~", "d.csv", "json", "a.json.part"
        ),
        found=("a.json", "b.JSONL", "c/d.ndjson"),
    ),
    Place(
        name="hidden files and folders",
        make=files("a.json", ".b.json", "_c.json", ".git/d.json", "_ddbio/e.json", ".ddbio/t-1/rejects-1.jsonl"),
        found=("a.json",),
    ),
    Place(name="a hidden file that is named", make=files("_a.json", "b.json"), source="_a.json", found=("_a.json",)),
    Place(name="a file of another ending that is named", make=files("a.txt"), source="a.txt", found=("a.txt",)),
    Place(name="a folder named like a file", make=files("x.json/a.json", "b.json"), found=("b.json", "x.json/a.json")),
    Place(
        name="a folder named like a file, named", make=files("x.json/a.json"), source="x.json", found=("x.json/a.json",)
    ),
    Place(
        name="odd names",
        make=files("a b.json", "ä.json", "\n.json", "[1].json"),
        found=("a b.json", "ä.json", "\n.json", "[1].json"),
    ),
    Place(
        name="a name that looks like a glob", make=files("[1].json", "1.json"), source="[1].json", found=("[1].json",)
    ),
    Place(name="a glob", make=files("a-1.json", "a-2.txt", "b.json"), source="a-*", found=("a-1.json", "a-2.txt")),
    Place(
        name="a loop of links", make=also(files("a.json"), link("loop", "."), link("self", "self")), found=("a.json",)
    ),
    Place(
        name="a loop of folders",
        make=also(files("a.json", "b/c.json"), link("b/up", "..")),
        found=("a.json", "b/c.json"),
    ),
    Place(
        name="a dangling link of another ending", make=also(files("a.json"), link("b", "nowhere")), found=("a.json",)
    ),
    refused("a name that is not UTF-8", also(files("a.json"), latin), ".", r"caf\\udce9\.json' is not UTF-8"),
    refused("an empty folder", files(), ".", NONE),
    refused("a folder of other files", files("README.md", "_a.json"), ".", NONE),
    refused("a missing file", files(), "a.json", "a.json does not exist"),
    refused("a missing folder", files(), "a/b/c/", "does not exist"),
    refused("a file below a file", files("a.json"), "a.json/b.json", "Not a directory"),
    refused("a glob without a match", files("a.json"), "b*.json", NONE),
    refused("a dangling link", also(files("a.json"), link("b.json", "nowhere.json")), ".", "b.json: No such file"),
    refused("a dangling link that is named", link("b.json", "nowhere.json"), "b.json", "b.json does not exist"),
    refused("a dangling link that a glob matches", link("b.json", "nowhere.json"), "*.json", "b.json: No such file"),
    refused("a link to itself", also(files("a.json"), link("b.json", "b.json")), ".", "b.json: Too many levels"),
    refused("a link to itself that is named", link("b.json", "b.json"), "b.json", "Too many levels"),
    refused("a name that is too long", files(), "x" * 300 + ".json", "too long"),
    refused("a named pipe among files", also(files("a.json"), pipe("b.json")), ".", "b.json is not a regular file"),
    refused("a socket among files", also(files("a.json"), listening("b.json")), ".", "b.json is not a regular file"),
    refused("a socket that is named", listening("b.json"), "b.json", "b.json", SourceError),
    refused("a manifest that is not JSON", manifest("{"), ".", "manifest", SourceError),
    refused(
        "a manifest of another version", manifest('{"ddbio_manifest":3,"type_hints":{}}'), ".", "manifest", SourceError
    ),
    refused("a manifest of another program", manifest('{"files":[]}'), ".", "manifest", SourceError),
    refused(
        "a manifest with a path that can't be read",
        manifest('{"ddbio_manifest":1,"type_hints":{"a[":"SS"}}'),
        ".",
        "manifest",
        SourceError,
    ),
    refused(
        "a manifest with an unknown type",
        manifest('{"ddbio_manifest":1,"type_hints":{"a":"X"}}'),
        ".",
        "manifest",
        SourceError,
    ),
)
