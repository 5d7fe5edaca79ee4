"""Which codec serves, and how to force one."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.kit.codec_cases import IMPLEMENTATIONS


def chosen(wanted: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from ddbio.codec import CODEC; print(CODEC)"],
        env=os.environ | {"DDBIO_CODEC": wanted},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_native_codec_serves_where_it_was_built() -> None:
    assert chosen("").stdout.strip() == ("native" if len(IMPLEMENTATIONS) > 1 else "reference")


def test_a_codec_can_be_forced() -> None:
    assert chosen("reference").stdout.strip() == "reference"
    assert (chosen("native").returncode == 0) == (len(IMPLEMENTATIONS) > 1)


def test_an_unknown_codec_is_refused() -> None:
    result = chosen("fast")
    assert result.returncode != 0
    assert "it must be native or reference" in result.stderr
