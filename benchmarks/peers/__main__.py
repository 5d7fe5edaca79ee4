"""`python -m benchmarks.peers export|import PEER TABLE FILE`, with the endpoint and the keys from the environment."""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path

import uvloop

from benchmarks.peers import exports, imports


def main() -> None:
    """Parse the arguments and run the peer."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("direction", choices=("export", "import"))
    parser.add_argument("peer", choices=exports.PEERS)
    parser.add_argument("table")
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    os.environ["AWS_DEFAULT_REGION"] = os.environ["AWS_REGION"]  # what boto3 reads
    module, mode = (exports, "w") if options.direction == "export" else (imports, "r")
    with options.file.open(mode) as file:
        done = module.PEERS[options.peer](options.table, file)
        if asyncio.iscoroutine(done):
            uvloop.run(done)


if __name__ == "__main__":
    main()
