"""How much memory many segments and many files take: of `ddbio export` itself, not of its worker processes.

    python -m benchmarks.segments [--segments 1000000] [--items 0 100000] [--processes 2]

Exports tables of so many items from the counting server (a segment that has one makes a file), and prints Markdown:
resident memory when the first segment is read, when half of them are, and at most. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.request import urlopen

from benchmarks.cases import FAST, PYTHON
from benchmarks.processes import resident
from tests.kit.servers.aws import Server
from tests.kit.servers.process import running

SAMPLE_SECONDS = 0.5


class Sample(NamedTuple):
    """Segments that were read, and the bytes that were resident then."""

    segments: int
    resident: int


def samples(command: list[str], server: str) -> Iterator[Sample]:
    """Run an export to its end."""
    environment = {**os.environ, **Server("counting", server).environment()}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        with urlopen(f"{server}/_account") as reply:
            done = json.load(reply)["operations"].get("Scan", 0)
        yield Sample(done, resident(process.pid))
        time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")


def row(items: int, segments: int, processes: int) -> str:
    """One export, in Markdown."""
    serve = [*PYTHON, "tests.kit.servers.counting", "--items", str(items)]
    with TemporaryDirectory() as folder, running(serve, r'"url": ?"(?P<url>[^"]+)"', dict(os.environ)) as match:
        command = [*PYTHON, "ddbio", "export", "-t", "T", "-d", folder, "--segments", str(segments)]
        command += ["-p", str(processes), "--concurrency", "32", "--no-fingerprint", *FAST]
        began = time.monotonic()
        found = list(samples(command, match["url"]))
        files = len(list(Path(folder).glob("*.json")))
    begun = next(sample for sample in found if sample.segments)
    half = next(sample for sample in found if sample.segments >= segments // 2)
    peak = max(sample.resident for sample in found)
    megabytes = " | ".join(f"{size / 1e6:.0f}" for size in (begun.resident, half.resident, peak))
    return f"| {segments:,} | {files:,} | {megabytes} | {time.monotonic() - began:.0f} |"


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description="How much memory many segments take.")
    parser.add_argument("--segments", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, nargs="+", default=[0, 100_000])
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    print("| segments | files | at the beginning, MB | halfway, MB | at most, MB | seconds |")
    print("|--:|--:|--:|--:|--:|--:|")
    for items in options.items:
        print(row(items, options.segments, options.processes), flush=True)


if __name__ == "__main__":
    main()
