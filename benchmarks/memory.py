"""How much memory a job takes, and that it does not grow with the table: every figure from processes of their own.

    python -m benchmarks.memory [--sizes 200 2000] [--import-sizes 50 500] [--processes 2] [--only export-folder]

Exports canned pages of the wire server to a folder and to SeaweedFS, and imports files into the wire server, each in
several sizes. Prints Markdown. Resident memory (/proc/PID/smaps_rollup, so Linux only) is sampled every 20 ms: of the
command, of each worker, and of all at the same instant; the table has the greatest of each.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

from benchmarks.cases import FAST, PYTHON, run_s3
from benchmarks.inputs import page_records, write_items
from benchmarks.machine import described
from benchmarks.processes import Outcome
from benchmarks.setting import Setting, set_up
from tests.kit.servers.items import Shape

KINDS = ("export-folder", "export-s3", "import", "export-s3-zstd")
SEGMENTS = 16
"""So few that each fills a part of an upload to S3."""


@dataclass(frozen=True)
class Row:
    """One job and what it took; megabytes of table (export) or of file (import)."""

    kind: str
    megabytes: int
    processes: int
    outcome: Outcome

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        peaks = {f"{name}_bytes": peak for name, peak in asdict(self.outcome.peaks).items()}
        what = {"kind": self.kind, "megabytes": self.megabytes, "processes": self.processes}
        return {**what, "seconds": round(self.outcome.wall, 1), **peaks}


def measure(
    setting: Setting,
    sizes: dict[str, Sequence[int]],
    *,
    processes: int = 2,
    shape: Shape = "small",
    more: Sequence[str] = (),
) -> Iterator[Row]:
    """Every size of every kind; `more` are further options of the command."""
    for kind, each in sizes.items():
        for megabytes in each:
            print(f"memory: {kind}, {megabytes} MB", file=sys.stderr, flush=True)
            with ExitStack() as stack:
                own = Path(stack.enter_context(TemporaryDirectory(dir=setting.folder)))
                environment = setting.wire.environment()
                if kind == "import":
                    _write(own / "items.json", shape, megabytes)
                    job = ["import", "-t", "small-0", "-s", str(own / "items.json"), "--state", str(own / "state")]
                else:
                    s3 = stack.enter_context(run_s3(own)) if kind.startswith("export-s3") else None
                    environment |= {"AWS_ENDPOINT_URL_S3": s3.url} if s3 else {}
                    place = f"s3://{s3.create_bucket()}/out" if s3 else str(own / "out")
                    job = ["export", "-t", f"small-{megabytes}", "-d", place, "--segments", str(SEGMENTS)]
                    job += ["--compress", "zstd" if kind.endswith("zstd") else "none"]
                command = [*PYTHON, "ddbio", *job, "-p", str(processes), *more, *FAST]
                yield Row(kind, megabytes, processes, setting.run(command, environment, watch=True))


def _write(file: Path, shape: Shape, megabytes: int) -> None:
    lines = page_records(shape)
    write_items(file, shape, megabytes * 1024 * 1024 * lines.count(b"\n") // len(lines))


def table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The rows as Markdown; the last column compares each size with the first of its kind."""
    yield "| job | processes | MB of items | seconds | MB/s | command, MB | worker, MB | all at once, MB | growth |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    first: dict[tuple[str, int], dict[str, Any]] = {}
    for row in rows:
        base = first.setdefault((row["kind"], row["processes"]), row)
        growth = "" if base is row else f"{row['together_bytes'] / base['together_bytes'] - 1:+.1%}"
        peaks = " | ".join(f"{row[f'{name}_bytes'] / 1e6:.0f}" for name in ("command", "worker", "together"))
        yield (
            f"| {row['kind']} | {row['processes']} | {row['megabytes']:,} | {row['seconds']:.0f} | "
            f"{row['megabytes'] / row['seconds']:.0f} | {peaks} | {growth} |"
        )


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description="How much memory a job takes.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[200, 2000], metavar="MB", help="of exported tables")
    parser.add_argument(
        "--import-sizes", type=int, nargs="+", default=[50, 500], metavar="MB", help="of imported files"
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--concurrency", type=int, help="default: the command's own")
    parser.add_argument("--shape", choices=get_args(Shape), default="small", help="of imported items")
    parser.add_argument("--only", choices=KINDS, nargs="+", default=KINDS[:3])
    parser.add_argument("--folder", help="where files are written; default: the system's folder for temporary files")
    options = parser.parse_args()
    more = ("--concurrency", str(options.concurrency)) if options.concurrency else ()
    sizes = {kind: options.import_sizes if kind == "import" else options.sizes for kind in options.only}
    facts = described()
    with set_up(options.folder) as setting:
        jobs = measure(setting, sizes, processes=options.processes, shape=options.shape, more=more)
        rows = [row.as_dict() for row in jobs]
    print(f"`python -m benchmarks.memory {shlex.join(sys.argv[1:])}`\n")
    print("\n".join(f"- {name}: {value}" for name, value in facts.items()))
    print(f"- exports of {SEGMENTS} segments\n")
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
