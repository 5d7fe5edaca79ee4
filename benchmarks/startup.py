"""What the command costs before it does anything."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.cases import DDBIO, PYTHON, Case, prepared
from benchmarks.processes import Outcome
from benchmarks.setting import Setting


def measure(rounds: int, setting: Setting) -> list[dict[str, Any]]:
    """The medians of `ddbio --help` and of an export of an empty table with `-p 1`."""
    helps = [setting.run([*PYTHON, "ddbio", "--help"], {}) for _ in range(rounds)]
    exports = [_empty_export(setting) for _ in range(rounds)]
    return [_row("ddbio --help", helps), _row("ddbio export -p 1", exports)]


def _empty_export(setting: Setting) -> Outcome:
    case = Case(who=DDBIO, direction="export")
    with (
        TemporaryDirectory(dir=setting.folder) as name,
        prepared(case, 0, setting.wire, Path(name)) as ready,
    ):
        return setting.run(ready.command, ready.environment)


def _row(command: str, outcomes: list[Outcome]) -> dict[str, Any]:
    return {
        "command": command,
        "seconds": round(median(outcome.wall for outcome in outcomes), 3),
        "cpu_seconds": round(median(outcome.cpu for outcome in outcomes), 3),
    }
