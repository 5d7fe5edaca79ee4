"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ddbio.codec import CODEC

PACKAGES = ("aiohttp", "uvloop", "msgspec", "isal", "zstandard", "boto3", "aioboto3", "aiodynamo", "awswrangler")


def described() -> dict[str, str]:
    """Date, machine, load, versions."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{os.cpu_count()} × {_processor()}, {platform.system()} {platform.release()}",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "ddbio": f"{version('ddbio')}, {CODEC} codec, Python {platform.python_version()}",
        "packages": ", ".join(f"{name} {number}" for name, number in _versions().items()),
    }


def _processor() -> str:
    lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
    return next((value.strip() for name, _, value in lines if name.strip() == "model name"), platform.machine())


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
