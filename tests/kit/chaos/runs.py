"""Runs by their seeds: each in a folder of its own, which is kept where it fails."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, Literal

import msgspec

from tests.kit.chaos.exporting import plan_export, run_export
from tests.kit.chaos.importing import plan_import, run_import
from tests.kit.chaos.processes import ChaosError
from tests.kit.chaos.world import World

Kind = Literal["export", "import"]


def servers_of(kind: Kind, seed: int) -> set[str]:
    """The names of the servers that a run needs, besides the counting one."""
    if kind == "import":
        names: set[str] = {plan_import(seed).tables}
    else:
        plan = plan_export(seed)
        names = {plan.tables, plan.place}
    return names - {"counting", "folder"}


async def run(kind: Kind, seed: int, world: World) -> dict[str, Any]:
    """One run; what is worth a line. Raises ChaosError, which tells how to repeat it."""
    folder = Path(tempfile.mkdtemp(prefix=f"ddbio-chaos-{kind}-{seed}-"))
    plan = plan_export(seed) if kind == "export" else plan_import(seed)
    (folder / "plan.json").write_bytes(msgspec.json.format(msgspec.json.encode(plan)))
    try:
        if kind == "export":
            told = await run_export(plan_export(seed), world, folder)
        else:
            told = await run_import(plan_import(seed), world, folder)
    except ChaosError as error:
        raise ChaosError(
            f"{kind} with seed {seed}: {error}\nRepeat it: python -m tests.kit.chaos {kind} --runs 1 --seed {seed}\n"
            f"Its folder: {folder}"
        ) from error
    shutil.rmtree(folder)
    return told


def line(told: dict[str, Any]) -> str:
    """One run in one line."""
    return json.dumps(told)
