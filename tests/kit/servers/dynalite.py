"""dynalite, the strict DynamoDB: validation texts, 1 MB pages, capacity figures.

Quirks: a strong Scan costs as much as an eventual one; writes to an index are not counted; ItemCount stays 0; nesting
of 33 is accepted; JSON over 16 MB gets HTTP 413; no PartiQL, transactions or DescribeLimits.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kit.servers.aws import Server
from tests.kit.servers.process import on_free_ports, running

ROOT = Path(__file__).parents[3]
INSTALLED = Path("node_modules", ".bin", "dynalite")
WITHOUT_DELAY = ("--createTableMs", "0", "--deleteTableMs", "0", "--updateTableMs", "0")


def find_dynalite() -> Path | None:
    """The executable: DDBIO_DYNALITE, else on PATH, in the project's node_modules, or under ~/.cache/ddbio/dynalite."""
    if named := os.environ.get("DDBIO_DYNALITE"):
        return Path(named)
    if on_path := shutil.which("dynalite"):
        return Path(on_path)
    places = (ROOT / INSTALLED, Path.home() / ".cache" / "ddbio" / "dynalite" / INSTALLED)
    return next((place for place in places if place.exists()), None)


@contextmanager
def run_dynalite(executable: Path) -> Iterator[Server]:
    """Run it on a free port, its tables in memory."""

    @contextmanager
    def serve(port: int) -> Iterator[Server]:
        command = (executable, "--host", "127.0.0.1", "--port", str(port), *WITHOUT_DELAY)
        with running(command, r"listening at: (\S+)") as match:
            yield Server("dynalite", match[1])

    with on_free_ports([0], serve) as server:
        yield server
