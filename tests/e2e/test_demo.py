"""`ddbio demo`: a newcomer's first command."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import signal
from pathlib import Path

import pytest

from ddbio.aws.session import Session
from ddbio.embedded import aws_settings, embedded_aws
from tests.kit.command import ddbio, end, start


def test_demo_shows_all_of_it_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = ddbio("demo", environment={"TMPDIR": str(tmp_path / "tmp")}, folder=tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # It ends in under 20 seconds; on a machine that others use as well, CPU time is what can be held against it.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 20
    assert (done.code, done.err) == (0, "")
    text = done.out.decode()
    for step in (
        "Generated 1,000 items",
        "Imported them into demo: 1,000 items",
        "Exported demo to a folder, as plain JSON: 1,000 items",
        "Exported demo to S3, as DynamoDB JSON in zstd: 1,000 items",
        "Imported the objects into demo-copy: 1,000 items",
        "Compared the two tables: 1,000 items, all equal.",
        "nothing is left running",
        "ddbio export -t TABLE",
        "ddbio verify -t TABLE",
    ):
        assert step in text
    assert [path.name for path in tmp_path.rglob("*")] == ["tmp"]


def test_demo_does_not_touch_the_settings_of_a_person(tmp_path: Path) -> None:
    settings = tmp_path / "config"
    settings.write_text("[profile mine]\nregion = eu-west-1\nendpoint_url = http://127.0.0.1:9\n")
    environment = {
        "AWS_PROFILE": "mine",
        "AWS_CONFIG_FILE": str(settings),
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_SESSION_TOKEN": "token",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
        "AWS_CA_BUNDLE": "/missing.pem",
    }
    done = ddbio("demo", "--items", "30", environment=environment)
    assert (done.code, done.err) == (0, "")
    assert "30 items, all equal" in done.out.decode()


def test_demo_without_moto_says_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "moto").mkdir()
    (tmp_path / "moto" / "__init__.py").write_text("raise ModuleNotFoundError('moto')")
    done = ddbio("demo", environment={"PYTHONPATH": str(tmp_path)})
    assert done.code == 1
    assert done.errors == [
        "error: The emulators need moto, which is not installed. Install it: pip install 'moto[server]'"
    ]


async def test_interrupted_demo(tmp_path: Path) -> None:
    process = await start("demo", "--items", "100000", environment={"TMPDIR": str(tmp_path)})
    assert process.stdout is not None
    while b"Generated" not in await process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    done = await end(process)
    assert (done.code, done.err) == (130, "Stopping.\nInterrupted. Nothing is left running.\n")
    assert await asyncio.to_thread(os.listdir, tmp_path) == []


async def test_embedded_server_serves_dynamodb_and_s3_on_loopback() -> None:
    with aws_settings():
        async with embedded_aws() as connection:
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+", str(connection.endpoint_url))
            async with Session(connection) as session:
                async with session.dynamodb_client() as dynamodb:
                    assert isinstance((await dynamodb.list_tables())["TableNames"], list)
                async with session.s3_client() as s3:
                    assert isinstance((await s3.list_buckets())["Buckets"], list)


def test_settings_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mine")
    before = dict(os.environ)
    with pytest.raises(ZeroDivisionError), aws_settings():
        assert "AWS_PROFILE" not in os.environ
        assert os.environ["AWS_ACCESS_KEY_ID"] == "embedded"
        raise ZeroDivisionError
    assert dict(os.environ) == before
