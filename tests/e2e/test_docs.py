"""The Python examples of the documents, run as programs of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.servers.aws import REGION, Key, Server

ROOT = Path(__file__).parents[2]
KEY: Key = (("hash", "S"), ("range", "S"))
EXAMPLES = [
    example
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    for example in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
]


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"example {number}" for number in range(len(EXAMPLES))])
def test_library_example(moto: Server, tmp_path: Path, example: str) -> None:
    orders, copy = moto.create_table(key=KEY), moto.create_table(key=KEY)
    moto.put_items(orders, [{"hash": {"S": "a"}, "range": {"S": "b"}, "n": {"N": "1"}}])
    environment = {**os.environ, **moto.environment()}
    if "eu-west-1" in example:
        environment["AWS_REGION"] = "us-west-2"  # the region of the connection is the one that counts
    code = example.replace("eu-west-1", REGION).replace('"Orders"', f'"{orders}"').replace('"Copy"', f'"{copy}"')
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment, cwd=tmp_path, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert moto.items(copy) == (moto.items(orders) if copy in code else [])
    assert (tmp_path / "orders" / "_ddbio" / "manifest.json").exists() == ("export_table" in code)
