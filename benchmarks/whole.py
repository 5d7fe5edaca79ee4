"""Whole jobs against real servers, by the clock: dynalite, which checks and stores every item, and SeaweedFS for S3."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.cases import FAST, PYTHON, run_s3
from benchmarks.inputs import write_items
from benchmarks.setting import Setting
from tests.kit.servers.dynalite import find_dynalite, run_dynalite


def measure(setting: Setting, items: int) -> Iterator[dict[str, Any]]:
    """An import, and exports of what it wrote to a folder and to S3; nothing where dynalite is not installed."""
    executable = find_dynalite()
    if executable is None:
        print("dynalite is not installed: no jobs against it", file=sys.stderr)
        return
    with TemporaryDirectory(dir=setting.folder) as name, run_dynalite(executable) as server, run_s3(Path(name)) as s3:
        folder = Path(name)
        table, bucket = server.create_table(), s3.create_bucket()
        write_items(folder / "items.json", "small", items)
        source = ("-s", str(folder / "items.json"), "--state", str(folder / "state"))
        jobs = {
            "import from a file": ("import", *source),
            "export to a folder": ("export", "-d", str(folder / "out")),
            "export to S3": ("export", "-d", f"s3://{bucket}/out"),
            "import from S3": ("import", "-s", f"s3://{bucket}/out", "--state", str(folder / "again")),
        }
        environment = {**server.environment(), "AWS_ENDPOINT_URL_S3": s3.url}
        for job, line in jobs.items():
            outcome = setting.run([*PYTHON, "ddbio", *line, "-t", table, "-p", "1", *FAST], environment)
            moved = json.loads(outcome.output)["items"]
            if moved != items:
                raise SystemExit(f"{job}: {moved} items, not {items}")
            yield {"job": job, "items": items, "seconds": round(outcome.wall, 2), "cpu_seconds": round(outcome.cpu, 2)}
