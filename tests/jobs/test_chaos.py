"""A few chaotic runs, and credentials that wear out all the time. `python -m tests.kit.chaos` makes any number of runs.

DDBIO_CHAOS_RUNS sets how many exports, and how many imports, are run; DDBIO_CHAOS_SEED the seed of the first of each.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import StartCounting
from tests.kit.chaos.exporting import plan_export
from tests.kit.chaos.importing import plan_import
from tests.kit.chaos.runs import Kind, run, servers_of
from tests.kit.chaos.wearing import export_with, import_with
from tests.kit.chaos.world import Servers, World
from tests.kit.marks import few
from tests.kit.servers.aws import Server

RUNS = int(os.environ.get("DDBIO_CHAOS_RUNS", "10"))
FIRST = int(os.environ.get("DDBIO_CHAOS_SEED", "1"))
FIXTURES = {"moto": "moto_process", "dynalite": "dynalite_process", "seaweed": "seaweed"}


@pytest.mark.parametrize("seed", few(range(FIRST, FIRST + RUNS)))
@pytest.mark.parametrize("kind", ["export", "import"])
async def test_killed_again_and_again(
    request: pytest.FixtureRequest, counting: StartCounting, kind: Kind, seed: int
) -> None:
    servers: dict[str, Server] = {name: request.getfixturevalue(FIXTURES[name]) for name in servers_of(kind, seed)}
    await run(kind, seed, World(await counting(), servers.__getitem__))


def test_the_seed_settles_everything() -> None:
    assert [plan_export(seed) for seed in range(50)] == [plan_export(seed) for seed in range(50)]
    assert [plan_import(seed) for seed in range(50)] == [plan_import(seed) for seed in range(50)]
    assert len({plan_export(seed).command("out")[-1] for seed in range(50)}) > 1


@pytest.mark.exhaustive
async def test_an_export_outlives_its_credentials_again_and_again(counting: StartCounting, tmp_path: Path) -> None:
    await export_with(World(await counting(), Servers()), tmp_path)


@pytest.mark.exhaustive
async def test_an_import_outlives_its_credentials_again_and_again(counting: StartCounting, tmp_path: Path) -> None:
    await import_with(World(await counting(), Servers()), tmp_path)
