"""What goes wrong outside of ddbio: one clear line, the right exit code, and nothing left but what --resume needs."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ddbio.generate import blocks
from ddbio.storage.local.sink import LocalSink
from tests.conftest import StartCounting
from tests.kit.command import Done, ddbio, end, refused, start
from tests.kit.marks import few
from tests.kit.servers.aws import ACCESS_KEY, REGION, SECRET_KEY, Key, Server
from tests.kit.servers.counting import CountingServer
from tests.kit.servers.http import Handler, HttpServer, Reply, Request
from tests.kit.servers.items import make_item
from tests.kit.servers.replies import Hook, error_reply
from tests.kit.servers.tables import Table

NOWHERE = "http://127.0.0.1:9"
KEY: Key = (("hash", "S"), ("range", "S"))
ITEMS = 2_000
DISK_BYTES = 128 * 1024
"""Less than the items of a table take, more than a journal does."""


def environment(server: CountingServer, s3: str = NOWHERE) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL_DYNAMODB": server.url,
        "AWS_ENDPOINT_URL_S3": s3,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": REGION,
    }


async def run(server: CountingServer, *line: str, s3: str = NOWHERE) -> Done:
    return await end(await start(*line, environment=environment(server, s3)))


def names(folder: Path) -> list[str]:
    """Every file below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def failing(operation: str, code: str, message: str, *, after: int = 0) -> Hook:
    """The service answers with an error, once an operation has gone well so often."""
    left = after

    async def hook(request: Request, serve: Handler) -> Reply:
        nonlocal left
        if request.operation != operation:
            return await serve(request)
        left -= 1
        return await serve(request) if left >= 0 else error_reply(code, message)

    return hook


# --- credentials


async def test_credentials_that_dynamodb_does_not_know(counting: StartCounting, tmp_path: Path) -> None:
    message = "The security token included in the request is invalid."
    server = await counting(Table(), on_request=failing("DescribeTable", "UnrecognizedClientException", message))
    (tmp_path / "in.json").write_bytes(b"".join(blocks(3)))
    for line in (["export", "-d", str(tmp_path / "out")], ["import", "-s", str(tmp_path / "in.json")]):
        refused(await run(server, *line, "-t", "T"), 1, "UnrecognizedClientException", "Check the keys or the profile")
    assert names(tmp_path) == ["in.json"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("processes", few(["1", "2"], 1))
async def test_credentials_that_are_refused_on_the_way(counting: StartCounting, tmp_path: Path, processes: str) -> None:
    """There are no others to be had: the job stops, and goes on with --resume."""
    code, message = "UnrecognizedClientException", "The security token included in the request is invalid."
    server = await counting(Table(items=ITEMS), on_request=failing("Scan", code, message, after=1))
    out = tmp_path / "out"
    line = ["export", "-t", "T", "-p", processes, "--segments", "4", "-d", str(out)]
    done = await run(server, *line)
    refused(done, 1, "The service refused the credentials")
    assert done.err.splitlines()[-1].endswith("--resume")
    assert SECRET_KEY not in done.err
    assert all(name.startswith("_ddbio/journal/") or name.endswith(".json") for name in names(out))
    server.on_request = None
    done = await run(server, *line, "--resume", "--json")
    assert (done.code, json.loads(done.out)["items"]) == (0, ITEMS), done.err


def test_credentials_that_s3_does_not_accept(moto: Server, seaweed: Server, tmp_path: Path) -> None:
    """SeaweedFS verifies signatures: the wrong secret, and a key that it does not know."""
    table = moto.create_table(key=KEY)
    bucket = seaweed.create_bucket()
    for wrong in ({"AWS_SECRET_ACCESS_KEY": "wrong"}, {"AWS_ACCESS_KEY_ID": "AKIAUNKNOWNUNKNOWN00"}):
        settings = {**seaweed.environment(), "AWS_ENDPOINT_URL_DYNAMODB": moto.url, **wrong}
        for line in (["export", "-d", f"s3://{bucket}/x"], ["import", "-s", f"s3://{bucket}/x"]):
            done = ddbio(*line, "-t", table, environment=settings, folder=tmp_path)
            refused(done, 1, bucket)
            assert seaweed.secret_key not in done.err
    assert names(tmp_path) == []
    assert seaweed.objects(bucket) == {}
    assert seaweed.uploads(bucket) == []


# --- a forbidden bucket

EMPTY_LIST = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
FORBIDDEN = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


def guarded(*, region: bool, listing: bool) -> Handler:
    """A bucket that tells its region perhaps, lets itself be listed perhaps, and allows nothing else."""

    async def answer(request: Request) -> Reply:
        listed = request.method == "GET" and listing
        fields = (("x-amz-bucket-region", REGION),) if region else ()
        body = b"" if request.method == "HEAD" else EMPTY_LIST if listed else FORBIDDEN
        return Reply((body,), 200 if listed else 403, fields=(("Content-Type", "application/xml"), *fields))

    return answer


@pytest.mark.parametrize(
    ("region", "listing", "told"),
    few(
        [
            (False, False, "Asking for bucket theirs"),
            (True, False, "AccessDenied"),
            (True, True, "AccessDenied"),
        ],
        0,
    ),
)
async def test_forbidden_bucket(
    counting: StartCounting, tmp_path: Path, region: bool, listing: bool, told: str
) -> None:
    server = await counting(Table(items=ITEMS))
    guard = HttpServer(guarded(region=region, listing=listing))
    url = f"http://127.0.0.1:{await guard.start()}"
    try:
        export = await run(server, "export", "-t", "T", "-d", "s3://theirs/x", s3=url)
        source = await run(server, "import", "-t", "T", "-s", "s3://theirs/x", s3=url)
    finally:
        await guard.stop()
    refused(export, 1, "theirs", told)
    refused(source, 1, "theirs", "no input file" if listing else told)
    assert server.account.operations.keys() <= {"DescribeTable"}


# --- a full disk


async def test_place_where_another_job_is_at_work(counting: StartCounting, tmp_path: Path) -> None:
    server = await counting(Table(items=ITEMS))
    with ThreadPoolExecutor(1) as executor:
        async with LocalSink(tmp_path / "out", "other", executor=executor) as sink, sink.lock("other"):
            done = await run(server, "export", "-t", "T", "-d", str(tmp_path / "out"), "--resume")
    refused(done, 1, "Another job is at work in ", ": run other, process ")
    assert server.account.operations["Scan"] == 0


async def test_file_that_may_not_grow(counting: StartCounting, tmp_path: Path) -> None:
    """The system's limit on the size of a file, which holds for the workers too."""
    server = await counting(Table(items=ITEMS))
    out = tmp_path / "out"
    line = ["export", "-t", "T", "-p", "2", "--segments", "4", "-d", str(out)]
    limited = await asyncio.create_subprocess_exec(
        *("bash", "-c", 'ulimit -f 32; exec "$@"', "bash", sys.executable, "-m", "ddbio", *line),
        env={**os.environ, **environment(server)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    done = await end(limited)
    refused(done, 1, "File too large", str(out))
    await check_resumes(server, done, line, out)


def may_mount() -> bool:
    with TemporaryDirectory() as folder:
        try:
            with small_disk(Path(folder)):
                return True
        except subprocess.CalledProcessError:
            return False


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system with little room."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    subprocess.run(command, capture_output=True, check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def make_room(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)


if may_mount():

    @pytest.mark.parametrize("processes", few(["1", "2"], 1))
    async def test_full_disk(counting: StartCounting, tmp_path: Path, processes: str) -> None:
        server = await counting(Table(items=ITEMS))
        with small_disk(tmp_path) as disk:
            out = disk / "out"
            line = ["export", "-t", "T", "-p", processes, "--segments", "4", "-d", str(out)]
            done = await run(server, *line)
            refused(done, 1, "No space left on device", str(disk))
            await asyncio.to_thread(make_room, disk)
            await check_resumes(server, done, line, out)

    async def test_full_disk_under_the_state_of_an_import(counting: StartCounting, tmp_path: Path) -> None:
        """Found before anything is written into the table."""
        server = await counting(Table(mode="stored", key=KEY))
        source = tmp_path / "in.json"
        source.write_bytes(b"".join(blocks(10)))
        (tmp_path / "disk").mkdir()
        with small_disk(tmp_path / "disk") as disk:
            (disk / "fill").write_bytes(bytes(DISK_BYTES))
            done = await run(server, "import", "-t", "T", "-s", str(source), "--state", str(disk / "state"))
            refused(done, 1, "No space left on device", str(disk))
            assert set(names(disk)) <= {"fill", "state/_ddbio/lock"}
        assert server.account.operations["BatchWriteItem"] == 0


async def check_resumes(server: CountingServer, done: Done, line: list[str], out: Path) -> None:
    """Left are sealed files, the journal, and the parts that it speaks of where they could not be sealed.

    With --resume the rest is done.
    """
    assert [name for name in names(out) if not re.fullmatch(r"T-.*\.json(\..*\.part)?|_ddbio/journal/.*", name)] == []
    if any(name.startswith("_ddbio/journal/") for name in names(out)):
        assert done.err.splitlines()[-1].startswith("Resume with: ddbio export ")
    done = await run(server, *line, "--resume", "--json")
    assert (done.code, json.loads(done.out)["items"]) == (0, ITEMS), done.err
    files = [name for name in names(out) if name != "_ddbio/manifest.json"]
    assert all(name.endswith(".json") for name in files)
    keys = Counter(json.loads(text)["pk"] for name in files for text in (out / name).read_text().splitlines())
    assert keys == Counter(make_item("small", 0, number)["pk"]["S"] for number in range(ITEMS))


# --- a rejects file that can't be one


@pytest.mark.parametrize(
    ("source", "rejects", "told"),
    few(
        [
            ("data", "file/rejects.jsonl", "rejects.jsonl can't be written: Not a directory"),
            ("data", "data/deep", "deep can't be written: Is a directory"),
            ("data", "pipe", "pipe is not a regular file"),
            ("data", "/dev/null", "/dev/null is not a regular file"),
            ("data", "/proc/rejects", "rejects can't be written: "),
            ("data", "data/rejects.jsonl", "would be one of the files that are read from data"),
            ("data", "data/deep/new/rejects.jsonl", "would be one of the files that are read from data"),
            ("data", "link.jsonl", "would be one of the files that are read from data"),
            ("data/in.json", "data/in.json", "would be one of the files that are read from data/in.json"),
            ("data/*", "data/deep/rejects.json", "would be one of the files that are read from data/*"),
        ],
        0,
        3,
        5,
    ),
)
async def test_rejects_that_can_not_be_kept(
    counting: StartCounting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, rejects: str, told: str
) -> None:
    """Found before the first request that costs anything, and nothing is left behind."""
    server = await counting(Table(mode="stored", key=KEY))
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "data" / "in.json").write_bytes(b"".join(blocks(10)))
    (tmp_path / "file").touch()
    (tmp_path / "link.jsonl").symlink_to("data/in.json")
    os.mkfifo(tmp_path / "pipe")
    before = names(tmp_path)
    monkeypatch.chdir(tmp_path)
    refused(await run(server, "import", "-t", "T", "-s", source, "--rejects", rejects), 1, told)
    assert server.account.operations["BatchWriteItem"] == 0
    assert names(tmp_path) == before
    assert not (tmp_path / "data" / "deep" / "new").exists()


async def test_state_folder_among_the_files_that_are_read(counting: StartCounting, tmp_path: Path) -> None:
    server = await counting(Table(mode="stored", key=KEY))
    (tmp_path / "in.json").write_bytes(b"".join(blocks(10)))
    line = ["import", "-t", "T", "-s", str(tmp_path), "--state"]
    refused(await run(server, *line, str(tmp_path / "state")), 1, "would be one of the files that are read", "--state")
    assert names(tmp_path) == ["in.json"]
    assert (await run(server, *line, str(tmp_path / "_state"))).code == 0
