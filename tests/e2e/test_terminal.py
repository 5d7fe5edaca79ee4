"""What a real terminal gets: nothing that a name or an attribute holds steers it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.kit.bad_inputs import PK
from tests.kit.command import SECONDS, ddbio
from tests.kit.marks import few
from tests.kit.servers.aws import Server

HOSTILE = "x\x1b]0;PWNED\x07\nwarning: all fine"
SHOWN = r"x\x1b]0;PWNED\x07\nwarning: all fine"
BAD = "in \x1b[1m'é\u202e\n.json"


@pytest.fixture
def table(moto: Server) -> str:
    """A table whose items hold an attribute that plain JSON can't keep, with a hostile name."""
    name = moto.create_table(key=PK)
    moto.put_items(name, [{"pk": {"S": "a"}, HOSTILE: {"SS": ["b"]}}, {"pk": {"S": "b"}, HOSTILE: {"S": "c"}}])
    return name


def on_a_terminal(line: list[str], environment: Mapping[str, str], folder: Path) -> tuple[int, str]:
    """Run a command whose standard error is a terminal; its exit code, and what the terminal got."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "ddbio", *line]
    settings = {**os.environ, "TERM": "xterm", "COLUMNS": "500", **environment}
    with subprocess.Popen(command, env=settings, cwd=folder, stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        got = b""
        try:
            while chunk := os.read(ours, 65_536):
                got += chunk
        except OSError:  # the command has ended, and with it the terminal's other side
            pass
        finally:
            os.close(ours)
        return process.wait(SECONDS), got.decode()


@pytest.mark.parametrize("encoding", few(["utf-8", "ascii"], 1))
def test_the_live_bar_of_an_export(moto: Server, table: str, tmp_path: Path, encoding: str) -> None:
    place = f"out {HOSTILE}"
    line = ["export", "-t", table, "-c", "1000", "-p", "1", "-d", place]
    environment = {**moto.environment(), "PYTHONIOENCODING": encoding}
    code, got = on_a_terminal(line, environment, tmp_path)
    assert code == 0, got
    assert "\x1b[?25l" in got, "there must be a bar"
    assert "\x1b]0;" not in got
    assert not any(part.startswith("warning: all fine") for part in got.splitlines())
    assert f"export of {table} to out {SHOWN}: account" in got
    path = SHOWN.replace("]", r"\]")
    assert f"warning: Attribute {path} holds sets or binary" in got


def test_warnings_of_worker_processes_and_details(moto: Server, table: str, tmp_path: Path) -> None:
    line = ["export", "-t", table, "-c", "100000", "-p", "2", "--segments", "2", "-d", f"out {HOSTILE}", "--verbose"]
    done = ddbio(*line, environment=moto.environment(), folder=tmp_path)
    assert done.code == 0, done.err
    assert SHOWN in done.err
    assert "\x1b" not in done.err
    assert "\nwarning: all fine" not in done.err


def test_standard_output_and_reports(moto: Server, table: str, tmp_path: Path) -> None:
    done = ddbio("export", "-t", table, "-d", "-", "-c", "1000", environment=moto.environment(), folder=tmp_path)
    assert sorted(done.out.splitlines())[0] == rb'{"pk":"a","x\u001b]0;PWNED\u0007\nwarning: all fine":["b"]}'
    line = ["export", "-t", table, "-c", "1000", "-p", "1", "-d", f"out {HOSTILE}", "--json"]
    report = ddbio(*line, environment=moto.environment(), folder=tmp_path).out
    assert rb"x\u001b]0;PWNED\u0007\nwarning: all fine/_ddbio/manifest.json" in report
    assert report.count(b"\n") == 1


@pytest.mark.parametrize("encoding", few(["", "utf-8", "ascii", "latin-1"], 2))
def test_names_and_the_command_to_go_on(moto: Server, tmp_path: Path, encoding: str) -> None:
    table = moto.create_table(key=PK)
    (tmp_path / BAD).write_bytes(b'bad\n{"pk":"a"}\n')
    environment = {**moto.environment(), "LC_ALL": "C", **({"PYTHONIOENCODING": encoding} if encoding else {})}
    line = ["import", "-t", table, "-s", BAD, "-p", "1", "--max-rejects", "0"]
    done = subprocess.run(
        [sys.executable, "-m", "ddbio", *line],
        env={**os.environ, **environment},
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    told = done.stderr.decode(encoding or "utf-8").splitlines()
    assert done.returncode == 1, told
    assert any(r"\x1b[1m'" in each and r"\n.json: The record is not valid JSON." in each for each in told)
    assert b"\x1b" not in done.stderr
    pasted = told[-1].removeprefix("Resume with: ").replace("--max-rejects N", "--max-rejects 9")
    script = f'ddbio() {{ {shlex.quote(sys.executable)} -m ddbio "$@"; }}\n{pasted}'
    resumed = subprocess.run(
        ["bash", "-c", script], env={**os.environ, **environment}, cwd=tmp_path, capture_output=True, check=False
    )
    assert resumed.returncode == 3, resumed.stderr
    assert moto.items(table) == [{"pk": {"S": "a"}}]


def test_arguments_that_are_not_utf_8_are_told(tmp_path: Path) -> None:
    for line, shown in (
        (
            ["import", "-r", "x", "-t", "T", "-s", b"a", b"caf\xe9\x1b[2J"],
            rb"Unexpected argument caf\udce9\x1b[2J",
        ),
        ([b"caf\xe9\n"], rb"No such command 'caf\udce9\n'"),
        (["generate", "-c", "1", "-f", b"caf\xe9\n"], rb"The value of --file is not UTF-8: 'caf\udce9\n'."),
    ):
        done = subprocess.run([sys.executable, "-m", "ddbio", *line], cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == 2
        assert shown in done.stderr
        assert done.stderr.count(b"\n") == 1
