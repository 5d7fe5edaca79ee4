"""Bad inputs as a person meets them: exit codes, one clear line, and memory that stays bounded."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.kit.bad_inputs import PK
from tests.kit.command import SECONDS
from tests.kit.marks import few
from tests.kit.servers.aws import Server

MB = 1_000_000
LINE = 500 * MB
RECORD = b'{"pk":"%s"}\n'
ROOM = 96 * 1024 * 1024
"""What bad input may take over what good input takes: twice the longest record, which is 16 MiB, and some chunks."""
UNPRIVILEGED = ("setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search")
"""Makes root heed permissions, as everybody else has to."""
MEASURED = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
sys.exit(code)
"""
"""Runs a command, and says how much memory it took at most. What the command says of itself may include the memory of
the process that started it: hence one of its own between it and the tests.
"""


class Ended(NamedTuple):
    """An import that has ended: its exit code, report (empty if it failed), error lines, and greatest memory."""

    code: int
    report: dict[str, Any]
    errors: list[str]
    peak: int


def import_(server: Server, table: str, source: str | Path, *more: str) -> Ended:
    """Run `ddbio import` in one process and the current folder."""
    line = ("-m", "ddbio", "import", "-t", table, "-s", str(source), "-p", "1", "-c", "100000", "--json", *more)
    done = subprocess.run(
        (*(UNPRIVILEGED if os.geteuid() == 0 else ()), sys.executable, "-c", MEASURED, sys.executable, *line),
        env={**os.environ, **server.environment()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=SECONDS,
    )
    *report, peak = done.stdout.splitlines()
    told = done.stderr.decode().splitlines()
    assert not any(line.startswith("Traceback") for line in told)
    errors = [line for line in told if line.startswith("error: ")]
    return Ended(done.returncode, json.loads(report[0]) if report else {}, errors, int(peak))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ddbio leaves in the current folder goes with the test."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def table(dynalite_process: Server) -> str:
    """An empty table."""
    return dynalite_process.create_table(key=PK)


def keys(server: Server, table: str) -> list[str]:
    return sorted(item["pk"]["S"] for item in server.items(table))


# --- memory


@pytest.fixture(scope="module")
def usual_peak(dynalite_process: Server, tmp_path_factory: pytest.TempPathFactory) -> int:
    """The memory that an import of next to nothing takes."""
    folder = tmp_path_factory.mktemp("usual")
    (folder / "in.json").write_bytes(RECORD % b"a")
    table = dynalite_process.create_table(key=PK)
    ended = import_(dynalite_process, table, folder / "in.json", "--state", str(folder))
    assert ended.code == 0
    return ended.peak


@contextmanager
def through_a_pipe() -> Iterator[str]:
    """500 MB of letters in one line, between two records, as they come out of a named pipe."""

    def write() -> None:
        with Path("in.json").open("wb") as pipe:
            pipe.write(RECORD % b"a")
            for _ in range(LINE // MB):
                pipe.write(b"x" * MB)
            pipe.write(b"\n" + RECORD % b"b")

    os.mkfifo("in.json")
    with ThreadPoolExecutor(1) as executor:
        writing = executor.submit(write)
        yield "in.json"
        writing.result()


@contextmanager
def in_a_sparse_file() -> Iterator[str]:
    """500 MB of zeros in one line, between two records, that take no room on the disk."""
    with Path("in.json").open("wb") as file:
        file.write(RECORD % b"a")
        file.seek(LINE, os.SEEK_CUR)
        file.write(b"\n" + RECORD % b"b")
    yield "in.json"


@contextmanager
def in_gzip() -> Iterator[str]:
    """500 MB of letters in one line, between two records, that half a megabyte of gzip unfolds to."""
    many = gzip.compress(b"x" * MB, mtime=0) * (LINE // MB)
    Path("in.json.gz").write_bytes(gzip.compress(RECORD % b"a") + many + gzip.compress(b"\n" + RECORD % b"b"))
    yield "in.json.gz"


@pytest.mark.parametrize("source", few([through_a_pipe, in_a_sparse_file, in_gzip]), ids=lambda source: source.__name__)
def test_line_of_500_mb(
    source: Callable[[], AbstractContextManager[str]], dynalite_process: Server, table: str, usual_peak: int
) -> None:
    """It is rejected, without its text; what stands before and behind it is written."""
    with source() as name:
        ended = import_(dynalite_process, table, name, "--rejects", "_rejects.jsonl")
    assert ended.code == 3
    assert (ended.report["items"], ended.report["rejected"]) == (2, 1)
    assert keys(dynalite_process, table) == ["a", "b"]
    reject = json.loads(Path("_rejects.jsonl").read_bytes())
    first = len(RECORD % b"a")
    assert (reject["reason"], reject["offset"], reject["length"], reject["raw"]) == (
        "record_too_long",
        first,
        LINE,
        None,
    )
    assert ended.peak - usual_peak < ROOM


# --- permissions


def closed_file(root: Path) -> Path:
    (root / "b.json").chmod(0)
    return root / "b.json"


def closed_file_in_a_folder(root: Path) -> Path:
    (root / "b.json").chmod(0)
    return root


def closed_folder_in_a_folder(root: Path) -> Path:
    (root / "c").chmod(0)
    return root


def closed_folder_in_a_glob(root: Path) -> Path:
    (root / "c").chmod(0)
    return root / "**" / "*.json"


CLOSED = [closed_file, closed_file_in_a_folder, closed_folder_in_a_folder, closed_folder_in_a_glob]


@pytest.mark.parametrize("close", few(CLOSED, 0), ids=lambda close: close.__name__)
def test_no_permission(close: Callable[[Path], Path], dynalite_process: Server, table: str, tmp_path: Path) -> None:
    """One line says what could not be read, and the exit code is 1."""
    root = tmp_path / "root"
    (root / "c").mkdir(parents=True)
    for name in ("a.json", "b.json", "c/d.json"):
        (root / name).write_bytes(RECORD % b"a")
    try:
        ended = import_(dynalite_process, table, close(root))
    finally:
        (root / "c").chmod(0o700)
    assert ended.code == 1
    [error] = ended.errors
    assert "Permission denied" in error
    assert str(root / ("b.json" if "file" in close.__name__ else "c")) in error


# --- exit codes


def test_more_rejects_than_allowed_end_in_1(dynalite_process: Server, table: str) -> None:
    Path("in.json").write_bytes(b"secret\n" * 5)
    ended = import_(dynalite_process, table, "in.json", "--max-rejects", "4")
    assert ended.code == 1
    [error] = ended.errors
    assert "5 records were rejected, more than the 4 allowed" in error
    [rejects] = Path().glob(".ddbio/*/rejects-*.jsonl")
    assert str(rejects) in error
    assert "secret" not in error


def test_broken_file_ends_in_1(dynalite_process: Server, table: str) -> None:
    Path("in.json.gz").write_bytes(gzip.compress(RECORD % b"a") + RECORD % b"secret")
    ended = import_(dynalite_process, table, "in.json.gz")
    assert ended.code == 1
    [error] = ended.errors
    assert "in.json.gz is not a whole gzip file" in error
    assert "secret" not in error
    assert keys(dynalite_process, table) == ["a"]
