"""The conditions under which every test runs."""

from __future__ import annotations

import os
from pathlib import Path

import boto3
import pytest
from blockbuster import BlockingError

import ddbio

BLOCKING = "import time\ndef nap(): time.sleep(0)"


@pytest.mark.parametrize(("folder", "fails"), [(Path(ddbio.__path__[0]), True), (Path(__file__).parent, False)])
async def test_blocking_calls_by_the_package_fail(folder: Path, fails: bool) -> None:
    names: dict[str, object] = {}
    exec(compile(BLOCKING, folder / "made_up.py", "exec"), names)
    nap = names["nap"]
    assert callable(nap)
    if fails:
        with pytest.raises(BlockingError, match="sleep"):
            nap()
    else:
        nap()


def test_no_aws_settings_but_the_fake_ones() -> None:
    session = boto3.session.Session()
    assert session.region_name is None
    assert session.get_credentials().access_key == os.environ["AWS_ACCESS_KEY_ID"]
    assert not any(name.startswith(("AWS_ENDPOINT", "AWS_PROFILE")) for name in os.environ)
