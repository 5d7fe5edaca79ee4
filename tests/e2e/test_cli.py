"""Every command as a process: what it does, what it tells, how it ends."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ddbio.generate import blocks
from ddbio.report import JobReport, Spending
from tests.kit.command import Done, ddbio, refused
from tests.kit.marks import few
from tests.kit.servers.aws import REGION, Key, Server

KEY: Key = (("hash", "S"), ("range", "S"))
ITEMS = 400


@pytest.fixture
def table(moto: Server) -> str:
    """An empty table with the key of generated items."""
    return moto.create_table(key=KEY)


@pytest.fixture
def full(moto: Server, table: str) -> str:
    """A table with items in it."""
    moto.put_items(table, [{name: {"S": text} for name, text in item.items()} for item in generated()])
    return table


def generated(count: int = ITEMS) -> list[dict[str, str]]:
    return [json.loads(line) for line in b"".join(blocks(count, seed=1)).splitlines()]


def in_order(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(items, key=lambda item: str(item["range"]))


def stored(server: Server, table: str) -> list[dict[str, str]]:
    """A table's items, whose attributes are all strings, in the order of their sort keys."""
    return in_order([{name: value["S"] for name, value in item.items()} for item in server.items(table)])


def exported(folder: Path) -> list[dict[str, str]]:
    """What a folder's files hold, in the order of the sort keys."""
    return in_order([json.loads(line) for file in folder.glob("*.json") for line in file.read_text().splitlines()])


@pytest.mark.exhaustive  # eight processes, six times
def test_command_lines_of_the_replaced_tool(moto: Server, table: str, tmp_path: Path) -> None:
    bucket = moto.create_bucket()
    shared = ["-r", REGION, "-t", table, "-p", "8", "-c", "1000"]
    (tmp_path / "inputs").mkdir()
    for line in (
        ["generate", "-c", str(ITEMS), "-f", "test.json"],
        ["import", *shared, "-s", "test.json"],
        ["generate", "-c", "50", "-f", "inputs/more.json"],
        ["import", *shared, "-s", "inputs"],
        ["export", *shared, "-s", "1024", "-d", "out"],
        ["export", *shared, "-s", "1024", "-d", f"s3://{bucket}/out"],
    ):
        done = ddbio(*line, environment=moto.environment(), folder=tmp_path)
        assert done.code == 0, done.err
        assert done.out == b""
    lines = (tmp_path / "test.json").read_bytes() + (tmp_path / "inputs" / "more.json").read_bytes()
    expected = in_order([json.loads(line) for line in lines.splitlines()])
    assert stored(moto, table) == expected
    assert exported(tmp_path / "out") == expected
    objects = {name: body for name, body in moto.objects(bucket, "out/").items() if name.endswith(".json")}
    manifest = objects.pop("out/_ddbio/manifest.json")
    assert in_order([json.loads(line) for body in objects.values() for line in body.splitlines()]) == expected
    assert json.loads(manifest)["totals"]["items"] == ITEMS + 50


def test_opening_line_and_summary(moto: Server, full: str, tmp_path: Path) -> None:
    done = ddbio("export", "-t", full, "-c", "1000", "-p", "1", "-d", str(tmp_path), environment=moto.environment())
    assert done.code == 0
    opening, *_, summary, used, manifest = done.err.splitlines()
    for part in (full, str(tmp_path), "account 123456789012", REGION, "at most 1,000 RCU/s"):
        assert part in opening
    assert summary.startswith(f"Exported {ITEMS} items (69.2 kB, ")
    assert used.startswith("Used ")
    assert manifest == f"Manifest: {tmp_path}/_ddbio/manifest.json"


def test_quiet_tells_nothing(moto: Server, full: str, tmp_path: Path) -> None:
    options = ["-c", "1000", "-p", "1", "--quiet"]
    done = ddbio("export", "-t", full, *options, "-d", str(tmp_path), environment=moto.environment())
    assert done == Done(0, b"", "")


def test_json_report_of_an_export(moto: Server, full: str, tmp_path: Path) -> None:
    options = ["-c", "1000", "-p", "1", "--json", "-d", str(tmp_path)]
    done = ddbio("export", "-t", full, *options, environment=moto.environment())
    report = json.loads(done.out)
    assert done.code == 0
    assert done.out.count(b"\n") == 1
    assert report.keys() == {*JobReport.__dataclass_fields__, *Spending.__dataclass_fields__} - {"used"}
    assert (report["command"], report["table"], report["items"], report["rejected"]) == ("export", full, ITEMS, 0)
    assert report["bytes"] == sum(file.stat().st_size for file in tmp_path.glob("*.json"))
    assert report["files"] == len(list(tmp_path.glob("*.json")))
    assert report["manifest"] == f"{tmp_path}/_ddbio/manifest.json"


def test_rejected_records_end_in_3_and_in_the_file(moto: Server, table: str, tmp_path: Path) -> None:
    source = tmp_path / "in.json"
    source.write_bytes(b'{"hash":"a","range":"b","secret":1}\nnot json\n\n{"hash":"a","secret":"contents"}')
    options = ["--json", "--rejects", str(tmp_path / "rejects.jsonl"), "-p", "1"]
    done = ddbio("import", "-t", table, "-s", str(source), *options, environment=moto.environment(), folder=tmp_path)
    report = json.loads(done.out)
    assert (done.code, report["items"], report["rejected"]) == (3, 1, 2)
    assert report["rejects"] == str(tmp_path / "rejects.jsonl")
    assert "warning: 2 records were rejected; see " + report["rejects"] in done.err
    assert "contents" not in done.err
    lines = [json.loads(line) for line in (tmp_path / "rejects.jsonl").read_text().splitlines()]
    assert [(line["offset"], line["reason"]) for line in lines] == [(36, "not_json"), (46, "key_missing")]


def test_strict_stops_at_the_first_bad_record(moto: Server, table: str, tmp_path: Path) -> None:
    source = tmp_path / "in.json"
    source.write_bytes(b"not json\n" + b"".join(blocks(10)))
    done = ddbio("import", "-t", table, "-s", str(source), "--strict", environment=moto.environment(), folder=tmp_path)
    refused(done, 1, "Stopped at the first rejected record")
    words = shlex.split(done.err.splitlines()[-1].removeprefix("Resume with: ddbio "))
    assert (words[-3:], "--strict" in words) == (["--max-rejects", "N", "--resume"], False)
    (elsewhere := tmp_path / "elsewhere").mkdir()
    words[words.index("N")] = "9"
    done = ddbio(*words, environment=moto.environment(), folder=elsewhere)
    assert done.code == 3, done.err
    assert len(stored(moto, table)) == 10
    assert list(elsewhere.iterdir()) == []
    again = ddbio(*words, environment=moto.environment())
    assert again.code == 0, again.err
    assert "Imported earlier: 10 items" in again.err
    assert "of memory" not in again.err


def test_a_later_source_wins_an_unfinished_export_is_refused(moto: Server, table: str, tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "in.json").write_text(f'{{"hash":"a","range":"b","from":"{name}"}}')
    (journal := tmp_path / "new" / "_ddbio" / "journal").mkdir(parents=True)
    (journal / "00000001.json").touch()
    line = ["import", "-t", table, "-s", "old", "-s", "new"]
    done = ddbio(*line, environment=moto.environment(), folder=tmp_path)
    refused(done, 2, f"The export in {tmp_path / 'new'} has not ended: nothing was imported. ", "--allow-partial")
    assert stored(moto, table) == []
    done = ddbio(*line, "--allow-partial", environment=moto.environment(), folder=tmp_path)
    assert done.code == 0, done.err
    assert "has not ended: what is imported is not the whole table." in done.err
    assert [item["from"] for item in stored(moto, table)] == ["new"]


def test_standard_streams(moto: Server, table: str, tmp_path: Path) -> None:
    made = ddbio("generate", "-c", str(ITEMS), "--seed", "1", "-f", "-", environment={})
    assert made == Done(0, b"".join(blocks(ITEMS, seed=1)), "")
    imported = ddbio("import", "-t", table, "-s", "-", environment=moto.environment(), folder=tmp_path, stdin=made.out)
    assert (imported.code, imported.out) == (0, b""), imported.err
    done = ddbio("export", "-t", table, "-d", "-", "-c", "1000", environment=moto.environment(), folder=tmp_path)
    assert done.code == 0
    assert in_order([json.loads(line) for line in done.out.splitlines()]) == generated()


@pytest.mark.parametrize(
    "arguments",
    [("export", "-t", "NAME", "-d", "-", "-c", "1000"), ("generate", "-c", "200000", "-f", "-")],
)
def test_reader_that_goes_away_is_no_news(moto: Server, full: str, arguments: tuple[str, ...]) -> None:
    command = " ".join(["$PYTHON -m ddbio", *arguments]).replace("NAME", full)
    done = shell(f"{command} | head -1; exit ${{PIPESTATUS[0]}}", moto)
    assert done.code == 1
    assert done.out.count(b"\n") == 1
    assert "error" not in done.err
    assert "Traceback" not in done.err


def shell(line: str, server: Server) -> Done:
    environment = {**os.environ, **server.environment(), "PYTHON": sys.executable}
    done = subprocess.run(["bash", "-c", line], env=environment, capture_output=True, check=False, timeout=60)
    return Done(done.returncode, done.stdout, done.stderr.decode())


def test_generate_tells_what_it_made_unless_quiet(tmp_path: Path) -> None:
    file = tmp_path / "test.json"
    done = ddbio("generate", "-c", "1000", "-f", str(file), environment={})
    assert done.code == 0
    assert done.err.startswith(f"1,000 items (173.0 kB) in {file}, ")
    assert len(file.read_bytes().splitlines()) == 1_000
    assert ddbio("generate", "-c", "1", "-f", str(file), "--quiet", environment={}) == Done(0, b"", "")


def test_full_disk_is_told(moto: Server, full: str) -> None:
    for command in (f"export -t {full} -c 1000 -d -", "generate -c 9000 -f -", "generate -c 9000 -f /dev/full"):
        done = shell(f"$PYTHON -m ddbio {command} > /dev/full", moto)
        refused(done, 1, "No space left on device")


def test_a_report_that_cannot_be_written_is_told(moto: Server, full: str, tmp_path: Path) -> None:
    export, verify = f"export -t {full} -c 1000 -p 1 --json -d {tmp_path}", f"verify --json -s {tmp_path}"
    program = "env -u PYTHONUNBUFFERED $PYTHON -m ddbio"
    for command, code in ((export, 1), (verify, 1), (f"{export} --overwrite --max-units 1", 4)):
        done = shell(f"{program} {command} > /dev/full", moto)
        assert (done.code, len(done.errors)) == (code, 1), done.err
        assert done.errors[0].startswith("error: Could not write to standard output: No space left on device.")
        assert "Traceback" not in done.err
        assert "Exception ignored" not in done.err
    done = shell(f"{program} {verify} | true", moto)
    assert "Traceback" not in done.err
    assert "Exception ignored" not in done.err


def test_version_names_codec_and_python() -> None:
    done = ddbio("--version", environment={})
    assert (done.code, done.err) == (0, "")
    name, version, codec, _, python, _ = done.out.decode().replace(",", "").split()
    assert (name, python) == ("ddbio", "Python")
    assert version[0].isdigit()
    assert codec in ("native", "reference")


def test_wrong_use_tells_what_to_do_instead(tmp_path: Path) -> None:
    for line, told in (
        (["exprt"], "Did you mean 'export'? See: ddbio --help"),
        (
            ["import", "-t", "T", "-s", "1.json", "2.json"],
            "Unexpected argument 2.json: give -s before each source",
        ),
        (["export", "-t", "T", "-d", "out", "more"], "(more). See: ddbio export --help"),
        (["verify", "-s", "out", "-c", "5"], "Name it with --table"),
        (["verify", "-s", "out", "--consistent-read"], "Name it with --table"),
        (["verify", "-s", "out", "-t", "T", "--write-capacity", "5"], "Add --repair"),
    ):
        refused(ddbio(*line, environment={}, folder=tmp_path), 2, told)
    shown = ddbio("import", "--help", environment={}).out.decode()
    assert "Default: 15m." in " ".join(shown.split())
    assert "(15m)" not in shown


def test_a_signal_to_pause_before_or_after_the_job_is_harmless(moto: Server, full: str, tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from ddbio import cli; here = os.getpid();"
        "cli.app = lambda *_, go=cli.app, **how: (os.kill(here, signal.SIGUSR1), go(*_, **how))[1];"
        "ended = cli.main(); os.kill(here, signal.SIGUSR1); sys.exit(ended)"
    )
    line = ("export", "-t", full, "-d", str(tmp_path / "out"), "-p", "1", "-c", "1000", "--quiet")
    done = subprocess.run(
        [sys.executable, "-c", code, *line], env={**os.environ, **moto.environment()}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_limits_end_in_4_with_the_report(moto: Server, full: str, tmp_path: Path) -> None:
    line = ["export", "-t", full, "-c", "5", "-p", "1", "--max-units", "1", "--json", "-d", str(tmp_path)]
    done = ddbio(*line, environment=moto.environment())
    report = json.loads(done.out)
    assert done.code == 4, done.err
    assert (report["command"], report["table"], report["manifest"]) == ("export", full, None)
    assert report["capacity_units"] >= 1
    assert "its --max-units of 1 are used up. Continue with --resume.\nResume with: ddbio export" in done.err


def test_standard_output_does_not_replace_missing_stderr(moto: Server, full: str) -> None:
    done = shell(f"$PYTHON -m ddbio export -t {full} -c 1000 -d - 2>&-", moto)
    assert (done.code, in_order([json.loads(line) for line in done.out.splitlines()])) == (0, generated())


def test_missing_table(moto: Server, tmp_path: Path) -> None:
    for line in (["export", "-t", "Missing", "-d", str(tmp_path / "out")], ["import", "-t", "Missing", "-s", "x.json"]):
        done = ddbio(*line, environment=moto.environment(), folder=tmp_path)
        refused(done, 1, "There is no table Missing in us-east-1", "--region")
    assert list(tmp_path.iterdir()) == []


def test_missing_bucket(moto: Server, full: str, tmp_path: Path) -> None:
    for line in (["export", "-t", full, "-d", "s3://missing/x"], ["import", "-t", full, "-s", "s3://missing/x"]):
        done = ddbio(*line, environment=moto.environment(), folder=tmp_path)
        refused(done, 1, "missing")
    assert list(tmp_path.iterdir()) == []


def test_no_region(moto: Server, full: str, tmp_path: Path) -> None:
    environment = {**moto.environment(), "AWS_REGION": ""}
    done = ddbio("export", "-t", full, "-d", str(tmp_path / "out"), environment=environment)
    refused(done, 2, "No AWS region is known", "--region", "AWS_REGION")


def test_no_credentials(moto: Server, full: str, tmp_path: Path) -> None:
    environment = {**moto.environment(), "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    done = ddbio("export", "-t", full, "-d", str(tmp_path / "out"), environment=environment)
    refused(done, 1, "No AWS credentials were found", "--profile")


def test_unknown_profile(moto: Server, full: str, tmp_path: Path) -> None:
    options = ["--profile", "nobody", "-d", str(tmp_path / "out")]
    done = ddbio("export", "-t", full, *options, environment=moto.environment())
    refused(done, 2, "nobody", "--profile")


def test_server_that_is_not_there(full: str, moto: Server, tmp_path: Path) -> None:
    options = ["--endpoint-url", "http://127.0.0.1:9", "-d", str(tmp_path / "out")]
    refused(ddbio("export", "-t", full, *options, environment=moto.environment()), 1, "http://127.0.0.1:9")
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_written(moto: Server, full: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    place = str(tmp_path / "file" / "out")
    refused(ddbio("export", "-t", full, "-d", place, environment=moto.environment()), 1, place)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_export_is_not_overwritten_unless_asked_for(moto: Server, full: str, tmp_path: Path) -> None:
    line = ["export", "-t", full, "-c", "1000", "-p", "1", "-d", str(tmp_path)]
    assert ddbio(*line, environment=moto.environment()).code == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    refused(ddbio(*line, environment=moto.environment()), 2, str(tmp_path), "--overwrite")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before
    assert ddbio(*line, "--overwrite", environment=moto.environment()).code == 0
    assert exported(tmp_path) == generated()


@pytest.mark.parametrize("name", few(["missing.json", "empty", "*.json", ""], 0, 2))
def test_source_with_nothing_in_it(moto: Server, table: str, tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    done = ddbio("import", "-t", table, "-s", name, environment=moto.environment(), folder=tmp_path)
    refused(done, 1 if name else 2, name)


def test_empty_file_is_an_import_of_nothing(moto: Server, table: str, tmp_path: Path) -> None:
    (tmp_path / "in.json").touch()
    done = ddbio("import", "-t", table, "-s", "in.json", "--json", environment=moto.environment(), folder=tmp_path)
    assert (done.code, json.loads(done.out)["items"]) == (0, 0)


def test_standard_input_through_which_nothing_comes_is_an_error(moto: Server, table: str, tmp_path: Path) -> None:
    done = ddbio("import", "-t", table, "-s", "-", environment=moto.environment(), folder=tmp_path, stdin=b"")
    refused(done, 1, "Nothing came through standard input", "an empty file is imported by its name")


def test_more_capacity_than_there_is(moto: Server, tmp_path: Path) -> None:
    table = moto.create_table(key=KEY, capacity=(100, 50))
    line = ["export", "-t", table, "-c", "1000", "-d", str(tmp_path / "out")]
    refused(ddbio(*line, environment=moto.environment()), 2, "1000", "100", table)
    line = ["import", "-t", table, "-c", "1000", "-s", "x.json"]
    (tmp_path / "x.json").write_bytes(b"".join(blocks(1)))
    refused(ddbio(*line, environment=moto.environment(), folder=tmp_path), 2, "1000", "50", table)


def test_traceback_only_when_asked_for(moto: Server, tmp_path: Path) -> None:
    line = ["export", "-t", "Missing", "-d", str(tmp_path / "out"), "--verbose"]
    done = ddbio(*line, environment=moto.environment())
    assert done.code == 1
    assert "Traceback" in done.err
    assert len(done.errors) == 1
    assert moto.secret_key not in done.err
