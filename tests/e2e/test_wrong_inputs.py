"""Inputs that are wrong as a whole: the import says what they are, and does not look done."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.kit.bad_inputs import PK, RECORD_LIMIT
from tests.kit.command import Done, ddbio
from tests.kit.marks import few
from tests.kit.servers.aws import Server

GOOD = b'{"pk":"a"}\n'
NOTHING = "error: Nothing was imported: no record could be written."


@pytest.fixture
def table(moto: Server) -> str:
    return moto.create_table(key=PK)


class Import:
    """Imports into one table from one folder."""

    def __init__(self, server: Server, table: str, folder: Path) -> None:
        self.server, self.table, self.folder = server, table, folder

    def __call__(self, name: str, *more: str) -> tuple[Done, dict[str, Any]]:
        line = ("import", "-t", self.table, "-s", name, "-p", "1", "--json", *more)
        done = ddbio(*line, environment=self.server.environment(), folder=self.folder)
        return done, json.loads(done.out or b"{}")


@pytest.fixture
def imported(moto: Server, table: str, tmp_path: Path) -> Import:
    return Import(moto, table, tmp_path)


def reasons(done: Done) -> Sequence[str]:
    return [line for line in done.err.splitlines() if line.startswith("warning: ") and ", for example " in line]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    few(
        [
            (
                "in.csv",
                b"pk,v\na,1\nb,2\n",
                "not_json: 3 records, for example line 1 of PLACE: The record is not valid JSON. ",
            ),
            ("in.csv", b"pk,v\na,1\nb,2\n", "The file looks like CSV"),
            (
                "in.json",
                json.dumps([{"pk": "a"}, {"pk": "b"}]).encode(),
                "not_an_object: 1 record, for example line 1 of PLACE",
            ),
            ("in.json", json.dumps([{"pk": "a"}, {"pk": "b"}], indent=2).encode(), "jq -c '.[]' FILE"),
            ("in.json", json.dumps([{"pk": "x" * RECORD_LIMIT}]).encode(), "jq -c '.[]' FILE"),
            ("in.json", json.dumps({"pk": "a"}, indent=2).encode(), "jq -c . FILE"),
            ("in.json", gzip.compress(GOOD), "let its name end in .gz"),
            ("in.json", '\ufeff{"pk":"a"}\n'.encode("utf-16-le"), "iconv -f UTF-16 -t UTF-8"),
            ("in.json.gz", gzip.compress(b"[\n" + GOOD[:-1] + b",\n" + GOOD[:-1] + b",\n]\n"), "jq -c '.[]' FILE"),
            ("manifest.json", json.dumps({"ddbio_manifest": 1}, indent=2).encode(), "is a manifest of ddbio's"),
            (
                "in.json",
                b'{"id":"a"}\n{"id":"b"}\n',
                "key_missing: 2 records, for example line 1 of PLACE: The key attribute 'pk'",
            ),
        ],
        0,
        3,
        7,
    ),
    ids=[
        "CSV, the reason",
        "CSV",
        "array",
        "array over several lines",
        "array longer than a record",
        "object over several lines",
        "gzip without its ending",
        "UTF-16",
        "array in a gzip file",
        "manifest",
        "another table's items",
    ],
)
def test_an_input_of_which_nothing_can_be_written(imported: Import, name: str, content: bytes, told: str) -> None:
    (place := imported.folder / name).write_bytes(content)
    done, report = imported(name)
    told = told.replace("PLACE", str(place))
    assert done.code == 1, done.err
    assert done.errors == [NOTHING]
    assert any(told in line for line in reasons(done)), done.err
    assert report["items"] == 0
    assert sum(report["reject_reasons"].values()) == report["rejected"] > 0
    manifest = json.loads(Path(report["manifest"]).read_bytes())
    assert manifest["totals"]["reject_reasons"] == report["reject_reasons"]
    again, report = imported(name, "--resume")
    assert (again.code, again.errors, reasons(again)) == (0, [], [])
    assert report["reject_reasons"] == manifest["totals"]["reject_reasons"]


def test_each_reason_is_told_once_with_an_example(imported: Import) -> None:
    (imported.folder / "a.json").write_bytes(GOOD + b"secret\n" * 3 + b'{"secret":1}\n')
    (imported.folder / "b.json").write_bytes(b'{"pk":"b"}\n' * 2 + b'secret"\n')
    done, report = imported(".")
    assert done.code == 3, done.err
    assert report["reject_reasons"] == {"not_json": 4, "key_missing": 1}
    first, second = reasons(done)
    assert first.startswith("warning: not_json: 4 records, for example line 2 of ")
    assert "a.json: The record is not valid JSON." in first
    assert second.startswith("warning: key_missing: 1 record, for example line 5 of ")
    assert "secret" not in done.err


def test_stopped_and_resumed_imports_report_reasons_of_rejects(imported: Import) -> None:
    (imported.folder / "in.json").write_bytes(b"bad\n" * 2 + b'{"id":1}\n' + GOOD)
    done, _ = imported("in.json", "--max-rejects", "1")
    assert done.code == 1
    assert [line.split(", for example ")[0] for line in reasons(done)] == [
        "warning: not_json: 2 records",
        "warning: key_missing: 1 record",
    ]
    resumed, report = imported("in.json", "--max-rejects", "9", "--resume")
    assert (resumed.code, reasons(resumed)) == (3, reasons(done))
    assert (report["items"], report["resumed"]) == (1, True)
    assert report["reject_reasons"] == {"not_json": 2, "key_missing": 1}


def test_standard_input_is_no_exception(moto: Server, table: str, tmp_path: Path) -> None:
    line = ("import", "-t", table, "-s", "-")
    done = ddbio(*line, environment=moto.environment(), folder=tmp_path, stdin=b"pk,v\na,1\n")
    assert (done.code, done.errors) == (1, [NOTHING])
    assert "for example line 1 of -: The record is not valid JSON. The file looks like CSV" in done.err
