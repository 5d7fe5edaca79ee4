"""One attribute changed in one of a million items: is it found, mended, and gone, and what does that take?

    python -m benchmarks.verify_million [--items 1000000] [--format jsonl] [--compress none]

Runs against a dynalite of its own (see tests/kit/servers/dynalite.py for where it is looked for). Prints one JSON
object a step, with the seconds, and for the verifications their reports.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.kit.servers.aws import Server
from tests.kit.servers.dynalite import find_dynalite, run_dynalite

ROOT = Path(__file__).resolve().parents[1]
PLENTY = ("-c", "1000000")


def run(server: Server, step: str, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    """Run a command to its end; tell how long it took, and return what it wrote on standard output."""
    began = time.monotonic()
    command = [sys.executable, "-m", "ddbio", *arguments, "--quiet"]
    done = subprocess.run(
        command, env={**os.environ, **server.environment()}, cwd=ROOT, capture_output=True, check=False
    )
    if done.returncode != code:
        raise SystemExit(f"{step} ended with {done.returncode}: {done.stderr.decode()}")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    print(json.dumps({"step": step, "seconds": round(time.monotonic() - began, 1), "output": lines}), flush=True)
    return lines


def change_one(server: Server, table: str, source: Path, number: int) -> dict[str, Any]:
    """Change the last character of one attribute of the item on a line; return its key."""
    with source.open() as lines:
        line = next(line for index, line in enumerate(lines) if index == number)
    item = {name: {"S": text} for name, text in json.loads(line).items()}
    server.put_items(table, [item | {"val_1": {"S": item["val_1"]["S"][:-1] + "!"}}])
    return {name: item[name] for name in ("hash", "range")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--format", default="jsonl")
    parser.add_argument("--compress", default="none")
    options = parser.parse_args()
    executable = find_dynalite()
    if executable is None:
        raise SystemExit("dynalite is not installed")
    with tempfile.TemporaryDirectory() as name, run_dynalite(executable) as server:
        folder = Path(name)
        source, out = folder / "items.json", str(folder / "out")
        table = server.create_table(key=(("hash", "S"), ("range", "S")))
        run(server, "generate", "generate", "-c", str(options.items), "-f", str(source), "--seed", "1")
        run(server, "import", "import", "-t", table, "-s", str(source), *PLENTY, "--state", str(folder / "state"))
        kind = ("--format", options.format, "--compress", options.compress)
        run(server, "export", "export", "-t", table, "-d", out, *PLENTY, *kind, "--json")
        run(server, "verify files", "verify", "-s", out, "--json")
        compare = ("verify", "-s", out, "-t", table, *PLENTY, "--json")
        run(server, "verify table", *compare)
        key = change_one(server, table, source, options.items * 2 // 3)
        difference, _ = run(server, "find the change", *compare, code=1)
        assert (difference["kind"], difference["key"]) == ("different", key), difference
        _, report = run(server, "mend it", *compare, "--repair")
        assert report["repaired"] == 1, report
        (report,) = run(server, "verify again", *compare)
        assert (report["different"], report["missing"], report["extra"]) == (0, 0, 0), report


if __name__ == "__main__":
    main()
