"""Plain JSON has neither sets nor binary: the manifest's type hints bring them back, and say where they can't."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.kit.command import ddbio
from tests.kit.marks import few
from tests.kit.servers.aws import Key, Server

KEY: Key = (("pk", "S"), ("sk", "B"))
ITEMS = 120


def item(number: int) -> dict[str, Any]:
    """Sets and binary of every kind, at the top, in maps, in lists; numbers of 38 digits; what looks like either."""
    text = f"{number:04d}"
    return {
        "pk": {"S": f"p{number % 7}"},
        "sk": {"B": bytes([number, 0, 255])},
        "names": {"SS": [f"n{text}", "ä", "\u2028", ""]},
        "sizes": {"NS": [str(number), "-0.5", f"1234567890123456789012345678{text}e-9"]},
        "parts": {"BS": [b"", bytes(range(number + 1))]},
        "raw": {"B": text.encode() * 3},
        "deep": {
            "M": {
                "tags": {"SS": ["x", text]},
                "list": {
                    "L": [{"M": {"blob": {"B": text.encode()}, "counts": {"NS": ["-1", text]}}} for _ in range(2)]
                },
                "a.b": {"M": {"c[]": {"BS": [b"z", text.encode()]}}},
            }
        },
        "array": {"L": [{"S": "a"}, {"N": "1"}, {"L": [{"SS": ["in a list", text]}]}]},
        "base64": {"S": "aGVsbG8="},
        "number": {"N": f"1234567890123456789012345678901234{text}"},
        "nothing": {"NULL": True},
        "empty": {"M": {"list": {"L": []}, "map": {"M": {}}, "text": {"S": ""}, "raw": {"B": b""}}},
        **({"rare": {"SS": ["only", "one"]}} if number == 77 else {}),
        "mixed": {"SS": ["a", "b"]} if number % 3 else {"L": [{"S": "a"}, {"S": "b"}]},
        "odd": {"M": {"raw": {"B": b"abc"} if number % 2 else {"S": "text"}}},
    }


def exact(value: Any) -> Any:
    """What boto3's low-level client gives, to compare: numbers by value, sets without order."""
    if isinstance(value, list):
        return [exact(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: Decimal(inner)
        if name == "N" and isinstance(inner, str)
        else Counter(Decimal(each) if name == "NS" else each for each in inner)
        if name in ("SS", "NS", "BS") and isinstance(inner, list)
        else exact(inner)
        for name, inner in value.items()
    }


def without(found: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name not in names}


def by_key(items: list[dict[str, Any]]) -> dict[bytes, Any]:
    return {each["sk"]["B"]: exact(each) for each in items}


@pytest.mark.parametrize("compress", few(["none", "zstd"], 1))
def test_sets_and_binary_come_back_from_plain_json(dynalite: Server, tmp_path: Path, compress: str) -> None:
    table, copy = dynalite.create_table(key=KEY), dynalite.create_table(key=KEY)
    items = [item(number) for number in range(ITEMS)]
    dynalite.put_items(table, items)
    environment = dynalite.environment()
    out = tmp_path / "out"

    gone = ddbio(
        *("export", "-t", table, "-d", str(out), "-p", "2", "-c", "10000", "--segments", "5", "--compress", compress),
        environment=environment,
    )
    assert gone.code == 0, gone.err
    warned = [line for line in gone.err.splitlines() if line.startswith("warning: Attribute ")]
    assert len(warned) == len(set(warned))
    manifest = json.loads((out / "_ddbio" / "manifest.json").read_text())
    assert sorted(manifest["mixed"]) == ["mixed", "odd.raw"]
    for path in manifest["mixed"]:
        assert any(f"Attribute {path} " in line for line in warned), warned
    lost = "mixed and 1 other attribute held sets or binary, and other types as well."
    assert f"warning: In {table}, {lost}" in gone.err

    come = ddbio(
        *("import", "-t", copy, "-s", str(out), "-p", "2", "-c", "10000", "--state", str(tmp_path / "state"), "--json"),
        environment=environment,
    )
    assert come.code == 0, come.err
    assert json.loads(come.out)["items"] == ITEMS
    assert lost in come.err
    before, after = by_key(items), by_key(dynalite.items(copy))
    assert before.keys() == after.keys()
    for key, whole in before.items():
        assert without(after[key], "mixed", "odd") == without(whole, "mixed", "odd")
        # What was not of one type throughout is what plain JSON has for it.
        assert after[key]["mixed"]["L"] in ([{"S": "a"}, {"S": "b"}], [{"S": "b"}, {"S": "a"}])
        assert after[key]["odd"]["M"]["raw"] == {"S": "YWJj" if "B" in whole["odd"]["M"]["raw"] else "text"}


def test_what_is_lost_beyond_the_paths_that_are_noted_is_told(dynalite: Server, tmp_path: Path) -> None:
    table, copy = dynalite.create_table(key=KEY), dynalite.create_table(key=KEY)
    sets = {f"s{number:04d}": {"SS": ["a"]} for number in range(1_001)}
    dynalite.put_items(table, [{"pk": {"S": "p"}, "sk": {"B": b"0"}, **sets}])
    environment = dynalite.environment()
    out = tmp_path / "out"
    gone = ddbio("export", "-t", table, "-d", str(out), environment=environment)
    come = ddbio("import", "-t", copy, "-s", str(out), "--state", str(tmp_path / "state"), environment=environment)
    for done, place in ((gone, table), (come, out)):
        assert done.code == 0, done.err
        assert f"warning: In {place}, attributes have more than 1,000 paths." in done.err
    (found,) = dynalite.items(copy)
    assert any("L" in value for value in found.values())


def test_nothing_is_mixed_in_dynamodb_json(dynalite: Server, tmp_path: Path) -> None:
    table, copy = dynalite.create_table(key=KEY), dynalite.create_table(key=KEY)
    items = [item(number) for number in range(ITEMS)]
    dynalite.put_items(table, items)
    environment = dynalite.environment()
    out = tmp_path / "out"
    gone = ddbio("export", "-t", table, "-d", str(out), "--format", "dynamodb-json", environment=environment)
    assert (gone.code, "warning" in gone.err) == (0, False), gone.err
    come = ddbio("import", "-t", copy, "-s", str(out), "--state", str(tmp_path / "state"), environment=environment)
    assert come.code == 0, come.err
    assert by_key(dynalite.items(copy)) == by_key(items)
