"""One job, one writer: the lock of every place, and how it is freed, lost and taken over."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import re
import signal
import socket
import sys
import threading
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack, nullcontext, suppress
from datetime import datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, IncompleteReadError

from ddbio.errors import JobFailedError, JobLockedError, PreflightError
from ddbio.storage import local_lock, s3_lock
from ddbio.storage.base import LOCK
from ddbio.storage.holder import read
from ddbio.storage.local import LocalSink
from ddbio.storage.s3 import S3Sink
from ddbio.storage.s3_lock import LEASE_SECONDS, RENEW_SECONDS, VALID_SECONDS
from tests.contract.places import Bucket, Place, s3_client
from tests.fakes import FakeClock, FakeTimer
from tests.servers.aws import Server

HOLD = """
import asyncio, os, sys
from concurrent.futures import ThreadPoolExecutor
from ddbio.errors import JobLockedError
from ddbio.storage.local import LocalSink

async def main():
    with ThreadPoolExecutor(2) as executor:
        sink = LocalSink(sys.argv[1], sys.argv[2], executor=executor)
        try:
            async with sink, sink.lock(sys.argv[2]):
                print("held", flush=True)
                await asyncio.to_thread(sys.stdin.read)
        except JobLockedError as error:
            print("refused", error, flush=True)
            await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


async def holder(folder: Path, run: str) -> Process:
    """A process that tries to take a folder's lock, says what came of it, and waits for its input's end."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLD, str(folder), run, stdin=PIPE, stdout=PIPE, env=environment
    )


async def said(process: Process) -> str:
    """Its next line."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


async def ended(process: Process) -> None:
    """Let it end."""
    await process.communicate(b"")


def names(folder: Path) -> list[str]:
    """Everything below a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


# --- every place


async def test_the_second_job_is_told_who_holds_the_lock(place: Place) -> None:
    async with place.sink() as first, place.sink("run8") as second:
        async with first.lock("run7"):
            with pytest.raises(JobLockedError) as caught:
                async with second.lock("run8"):
                    raise AssertionError("two writers")
        message = str(caught.value)
        assert f"run run7, process {os.getpid()} on {socket.gethostname()}, since 20" in message
        assert first.location.rstrip("/") in message
        assert "run again" in message
        async with second.lock("run8"):
            pass
    assert place.finished() == {}


async def test_what_the_body_raises_comes_out_and_frees_the_lock(place: Place) -> None:
    error = KeyError("as it is")
    async with place.sink() as sink:
        for _ in range(2):
            with pytest.raises(KeyError) as caught:
                async with sink.lock("run7"):
                    try:
                        raise ValueError
                    except ValueError as cause:
                        raise error from cause
            assert caught.value is error
            assert isinstance(error.__cause__, ValueError)
        with pytest.raises(BaseExceptionGroup) as group:
            async with sink.lock("run7"), asyncio.TaskGroup():
                raise error
        assert group.value.exceptions == (error,)


async def test_a_cancelled_job_frees_the_lock(place: Place) -> None:
    async def work() -> None:
        async with sink.lock("run7"):
            held.set()
            await asyncio.Event().wait()

    held = asyncio.Event()
    async with place.sink() as sink:
        job = asyncio.create_task(work())
        await held.wait()
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        async with sink.lock("run8"):
            pass


async def test_of_many_jobs_at_once_one_gets_the_lock(place: Place) -> None:
    async def work(run: str) -> bool:
        try:
            async with place.sink(run) as sink, sink.lock(run):
                await refused.wait()
                return True
        except JobLockedError:
            refused.release()
            return False

    class Count:
        def __init__(self, missing: int) -> None:
            self._missing = missing
            self._reached = asyncio.Event()

        def release(self) -> None:
            self._missing -= 1
            if not self._missing:
                self._reached.set()

        async def wait(self) -> None:
            await self._reached.wait()

    refused = Count(5)
    async with asyncio.timeout(30):
        assert sum(await asyncio.gather(*(work(f"run{number}") for number in range(6)))) == 1


# --- the local folder


async def test_a_killed_process_holds_no_lock(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    process = await holder(tmp_path, "dead")
    assert await said(process) == "held"
    async with LocalSink(tmp_path, "run7", executor=executor) as sink:
        with pytest.raises(JobLockedError, match=rf"run dead, process {process.pid} on "):
            async with sink.lock("run7"):
                raise AssertionError("two writers")
        process.send_signal(signal.SIGKILL)
        await ended(process)
        assert names(tmp_path) == ["_ddbio", LOCK]
        async with sink.lock("run7"):
            pass
    assert names(tmp_path) == ["_ddbio"]


async def test_of_two_processes_one_is_refused(tmp_path: Path) -> None:
    processes = await asyncio.gather(holder(tmp_path, "a"), holder(tmp_path, "b"))
    lines = sorted(await asyncio.gather(*map(said, processes)))
    assert lines[0] == "held"
    # The holder takes the lock first and then writes who it is.
    who = r"run (a|b), process|nothing more is known"
    assert re.match(rf"refused Another job is at work in .*: ({who})", lines[1])
    await asyncio.gather(*map(ended, processes))


async def test_a_lock_that_says_nothing_is_still_a_lock(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    process = await holder(tmp_path, "silent")
    assert await said(process) == "held"
    (tmp_path / LOCK).write_bytes(b"")
    async with LocalSink(tmp_path, "run7", executor=executor) as sink:
        with pytest.raises(JobLockedError, match="nothing more is known"):
            async with sink.lock("run7"):
                raise AssertionError("two writers")
    await ended(process)


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="a Linux system has a folder that nobody can write to")
async def test_a_folder_that_can_not_be_locked_is_named(executor: ThreadPoolExecutor) -> None:
    async with LocalSink("/sys/kernel/out", "run7", executor=executor) as sink:
        with pytest.raises(PreflightError, match=r"lock /sys/kernel/out/_ddbio/lock: .*Check the permissions"):
            async with sink.lock("run7"):
                raise AssertionError("no lock")


async def test_a_lock_that_is_closed_with_an_error_is_free(
    tmp_path: Path, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS tells only then that there was no room for what was written to it. The job's own error is the one to tell."""

    def close(descriptor: int) -> None:
        really(descriptor)
        if descriptor == held:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    async with LocalSink(tmp_path, "run7", executor=executor) as sink:
        with pytest.raises(JobFailedError, match="the job's own"), monkeypatch.context() as patch:
            async with sink.lock("run7") as held:
                really = os.close
                patch.setattr(os, "close", close)
                raise JobFailedError("the job's own")
        async with sink.lock("run7"):
            pass


# --- S3


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 20_000])
def test_a_lock_that_makes_no_sense_names_nobody(content: bytes) -> None:
    assert read(content) is None


class Later:
    """A client of a server whose clock says a later time; optionally of one that ignores conditions."""

    def __init__(self, client: Any, seconds: float = 0, *, conditions: bool = True) -> None:
        self._client = client
        self._shift = timedelta(seconds=seconds)
        self._conditions = conditions
        self.puts = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def get_object(self, **arguments: Any) -> Any:
        reply = await self._client.get_object(**arguments)
        headers = reply["ResponseMetadata"]["HTTPHeaders"]
        now: datetime = parsedate_to_datetime(headers["date"])
        reply["ResponseMetadata"]["HTTPHeaders"] = {**headers, "date": format_datetime(now + self._shift)}
        return reply

    async def put_object(self, **arguments: Any) -> Any:
        kept = arguments if self._conditions else {k: v for k, v in arguments.items() if not k.startswith("If")}
        reply = await self._client.put_object(**kept)
        self.puts += 1
        return reply


class Timeless(Later):
    """A client of a server with a clock that makes no sense."""

    def __init__(self, client: Any, date: str) -> None:
        super().__init__(client)
        self._date = date

    async def get_object(self, **arguments: Any) -> Any:
        reply = await self._client.get_object(**arguments)
        reply["ResponseMetadata"]["HTTPHeaders"]["date"] = self._date
        return reply


class Watched(FakeClock):
    """A clock that knows when somebody waits for the next renewal."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting = asyncio.Event()

    def call_at(self, when: float, callback: Callable[[], None]) -> FakeTimer:
        if when - self.now() == RENEW_SECONDS:
            self._waiting.set()
        return super().call_at(when, callback)

    async def waited_for(self) -> None:
        """Until the next renewal is planned."""
        async with asyncio.timeout(10):
            await self._waiting.wait()

    async def renew(self) -> None:
        """Let the next renewal come, and have its end."""
        await self.waited_for()
        self._waiting.clear()
        self.advance(RENEW_SECONDS)
        await self.waited_for()


@pytest.mark.parametrize(
    "date", ["yesterday", "Mon, 30 Nov 99999999999 10:00:00 GMT", "Mon, 30 Nov 1970 10:00:00 -0000"]
)
async def test_of_a_server_with_no_clock_no_lease_is_known_to_have_run_out(bucket: Bucket, date: str) -> None:
    second = bucket.sink(client=Timeless(bucket.client, date))
    async with bucket.sink().lock("run1"):
        with pytest.raises(JobLockedError):
            async with second.lock("run2"):
                raise AssertionError("no lock")


async def test_a_lease_that_ran_out_is_taken_over_and_its_holder_stops(bucket: Bucket) -> None:
    clock = Watched()
    first = bucket.sink(clock=clock)
    second = bucket.sink(client=Later(bucket.client, LEASE_SECONDS + 1))
    with pytest.raises(JobLockedError, match=r"taken over s3://.*: run run8, process"):
        async with first.lock("run7"), second.lock("run8"):
            await clock.renew()
    for call in (
        lambda: first.put("_ddbio/journal/1", b""),
        lambda: first.delete("x"),
        lambda: first.delete("x", "y"),
        lambda: first.recover("x", 1, {}),
        lambda: first.sweep(lambda name: True, ()),
    ):
        with pytest.raises(JobLockedError, match="taken over"):
            await call()


async def test_a_file_is_not_sealed_after_the_lock_was_lost(bucket: Bucket) -> None:
    clock = Watched()
    sink = bucket.sink(clock=clock)
    async with sink:
        file = await sink.create("x.json", max_bytes=1)
        await file.finish()
        with pytest.raises(JobLockedError):
            async with sink.lock("run7"):
                bucket.remove(LOCK)
                await clock.renew()
        with pytest.raises(JobLockedError, match="its lock is gone"):
            await file.seal()
    assert bucket.finished() == {}


async def test_a_lease_is_held_as_long_as_it_is_renewed(bucket: Bucket) -> None:
    clock = Watched()
    client = Later(bucket.client)
    sink, other = bucket.sink(client=client, clock=clock), bucket.sink()
    async with sink.lock("run7"):
        for _ in range(6):
            await clock.renew()
            with pytest.raises(JobLockedError):
                async with other.lock("run8"):
                    raise AssertionError("two writers")
    assert bucket.finished() == {}
    assert client.puts == 7


async def test_a_lease_that_can_not_be_renewed_stops_the_job(bucket: Bucket) -> None:
    class Dead(Later):
        dead = False

        async def get_object(self, **arguments: Any) -> Any:
            if self.dead:
                await asyncio.Event().wait()
            return await super().get_object(**arguments)

    clock, client = Watched(), Dead(bucket.client)
    with pytest.raises(JobLockedError, match=r"could not be renewed for 45 seconds.*resume"):
        async with bucket.sink(client=client, clock=clock).lock("run7"):
            await clock.waited_for()
            client.dead = True
            clock.advance(VALID_SECONDS)
            async with asyncio.timeout(10):
                await asyncio.Event().wait()
    assert list(bucket.finished()) == [LOCK]  # it lapses


async def test_a_write_whose_reply_was_lost_is_known_as_ones_own(bucket: Bucket) -> None:
    class Forgetful(Later):
        async def put_object(self, **arguments: Any) -> Any:
            await self._client.put_object(**arguments)
            self.puts += 1
            return await self._client.put_object(**arguments)  # as a client tries again

    clock, client = Watched(), Forgetful(bucket.client)
    async with asyncio.timeout(10):
        async with bucket.sink(client=client, clock=clock).lock("run7"):
            await clock.renew()
    assert client.puts == 2
    assert bucket.finished() == {}


async def test_what_is_spoilt_on_its_way_is_asked_for_and_sent_again(bucket: Bucket) -> None:
    """Once, when the lock is taken and when it is given back; the client itself does not do so."""

    class Spoilt(Later):
        read = written = False

        async def get_object(self, **arguments: Any) -> Any:
            if not self.read:
                self.read = True
                raise IncompleteReadError(actual_bytes=10, expected_bytes=200)
            return await super().get_object(**arguments)

        async def put_object(self, **arguments: Any) -> Any:
            if not self.written:
                self.written = True
                raise ClientError({"Error": {"Code": "BadDigest"}}, "PutObject")
            return await super().put_object(**arguments)

    client = Spoilt(bucket.client)
    async with bucket.sink(client=client).lock("run7"):
        assert client.read
        assert list(bucket.finished()) == [LOCK]
        client.read = False
    assert client.read
    assert bucket.finished() == {}


async def test_a_job_that_ends_by_itself_takes_the_time_to_give_the_lock_back(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(s3_lock, "RELEASE_SECONDS", 0.0)  # for one that is stopped, there is none left
    sink = bucket.sink()
    with pytest.raises(KeyError):
        async with sink.lock("run7"):
            raise KeyError
    assert bucket.finished() == {}
    with pytest.raises(asyncio.CancelledError):
        async with sink.lock("run7"):
            raise asyncio.CancelledError
    assert list(bucket.finished()) == [LOCK]
    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told.startswith("S3 did not answer in time: the lock on s3://")
    assert told.endswith(" stays for another 60 seconds.")


async def test_a_server_without_conditions_is_not_trusted(bucket: Bucket) -> None:
    clock = Watched()
    first = bucket.sink(client=Later(bucket.client, conditions=False), clock=clock)
    second = bucket.sink(client=Later(bucket.client, LEASE_SECONDS + 1, conditions=False))
    with pytest.raises(JobLockedError, match="run run8"):
        async with first.lock("run7"), second.lock("run8"):
            await clock.renew()


async def test_a_lock_that_can_not_be_had_is_explained(seaweed: Server) -> None:
    async with s3_client(seaweed) as client, S3Sink(client, "no-such-bucket-here", "") as sink:
        with pytest.raises(PreflightError, match=r"lock s3://no-such-bucket-here/.*NoSuchBucket"):
            async with sink.lock("run7"):
                raise AssertionError("no lock")


async def test_the_lock_keeps_the_encryption_but_not_the_storage_class(moto: Server) -> None:
    async with s3_client(moto) as client:
        seen: list[Mapping[str, Any]] = []

        class Noting(Later):
            async def put_object(self, **arguments: Any) -> Any:
                seen.append(arguments)
                return await super().put_object(**arguments)

        bucket = Bucket(moto, client)
        parameters = {"ServerSideEncryption": "AES256", "StorageClass": "STANDARD_IA"}
        async with bucket.sink(client=Noting(client), parameters=parameters).lock("run7"):
            pass
        assert [put.get("ServerSideEncryption") for put in seen] == ["AES256"]
        assert "StorageClass" not in seen[0]


ORPHAN = """
import asyncio, os, subprocess, sys
from concurrent.futures import ThreadPoolExecutor
from ddbio.storage.local import LocalSink

async def main():
    with ThreadPoolExecutor(2) as executor:
        sink = LocalSink(sys.argv[1], "dead", executor=executor)
        async with sink, sink.lock("dead") as lock:
            null = subprocess.DEVNULL
            worker = subprocess.Popen(["sleep", "600"], stdin=null, stdout=null, pass_fds=[lock])
            print(worker.pid, flush=True)
            await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


@pytest.fixture
async def orphan(tmp_path: Path) -> AsyncIterator[int]:
    """The process id of a worker, still alive, whose parent held the folder's lock when it was killed."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ORPHAN, str(tmp_path), stdin=PIPE, stdout=PIPE, env=environment
    )
    worker = int(await said(parent))
    parent.kill()
    await parent.wait()
    yield worker
    with suppress(ProcessLookupError):
        os.kill(worker, signal.SIGKILL)


async def test_a_worker_that_outlives_its_job_keeps_others_away(
    orphan: int, tmp_path: Path, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_lock, "ORPHAN_SECONDS", 0.2)
    async with LocalSink(tmp_path, "next", executor=executor) as sink:
        with pytest.raises(JobLockedError, match="run dead"):
            async with sink.lock("next"):
                raise AssertionError("two writers")
    os.kill(orphan, 0)


async def test_the_next_job_waits_for_the_last_worker_of_one_that_is_gone(
    orphan: int, tmp_path: Path, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_lock, "ORPHAN_SECONDS", 30.0)

    async def work() -> None:
        async with LocalSink(tmp_path, "next", executor=executor) as sink, sink.lock("next"):
            pass

    waiting = asyncio.create_task(work())
    await asyncio.wait([waiting], timeout=0.3)
    assert not waiting.done()
    os.kill(orphan, signal.SIGKILL)
    await waiting


async def test_a_folder_that_was_moved_takes_nothing_more(tmp_path: Path, executor: Executor) -> None:
    folder = tmp_path / "out"
    async with LocalSink(folder, "run7", executor=executor) as sink, sink.lock("run7"):
        await sink.put("_ddbio/a", b"")
        folder.rename(tmp_path / "moved")
        for change in (
            lambda: sink.put("_ddbio/b", b""),
            lambda: sink.delete("_ddbio/a"),
            lambda: sink.recover("a.json", 0, {"part": "a.json.run7.part"}),
            lambda: sink.sweep(lambda _: True, ()),
        ):
            with pytest.raises(JobLockedError, match="moved, removed or replaced") as caught:
                await change()
            assert "put it back" in str(caught.value)
        assert not folder.exists()
        (tmp_path / "moved").rename(folder)
        await sink.put("_ddbio/b", b"")
    assert names(folder) == ["_ddbio", "_ddbio/a", "_ddbio/b"]


async def test_a_job_whose_lock_is_gone_leaves_that_of_the_next(tmp_path: Path, executor: Executor) -> None:
    first, second = (LocalSink(tmp_path, run, executor=executor) for run in ("run7", "run8"))
    async with first, second, AsyncExitStack() as stack:
        await stack.enter_async_context(first.lock("run7"))
        (tmp_path / LOCK).unlink()
        async with second.lock("run8"):
            with pytest.raises(JobLockedError, match="its lock is gone"):
                await first.put("x", b"first")
            await stack.aclose()
            assert (tmp_path / LOCK).exists()
            await second.put("x", b"second")


async def test_a_lock_that_names_an_impossible_process_is_somebody_elses(tmp_path: Path, executor: Executor) -> None:
    path = tmp_path / LOCK
    path.parent.mkdir()
    holder = {"run": "run6", "host": socket.gethostname(), "pid": 10**30, "since": ""}
    path.write_text(json.dumps(holder))
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        async with LocalSink(tmp_path, "run7", executor=executor) as sink:
            with pytest.raises(JobLockedError, match="run run6"):
                async with sink.lock("run7"):
                    raise AssertionError("two writers")


@pytest.mark.parametrize("link", ["symbolic", "hard", "folder"])
async def test_a_link_in_the_place_of_the_lock_costs_no_other_file(
    link: str, tmp_path: Path, executor: Executor
) -> None:
    folder, victim = tmp_path / "out", tmp_path / "other" / "lock"
    for each in (folder / "_ddbio").parent, victim.parent:
        each.mkdir()
    victim.write_bytes(b"not ours")
    if link == "folder":
        (folder / "_ddbio").symlink_to(victim.parent)
    else:
        (folder / "_ddbio").mkdir()
        (folder / LOCK).symlink_to(victim) if link == "symbolic" else (folder / LOCK).hardlink_to(victim)
    refused = nullcontext() if link == "hard" else pytest.raises(PreflightError, match="link")
    async with LocalSink(folder, "run7", executor=executor) as sink:
        with refused:
            async with sink.lock("run7"):
                await sink.put("x", b"")
    assert victim.read_bytes() == b"not ours"
    assert names(victim.parent) == ["lock"]


async def test_a_job_that_is_cancelled_twice_still_gives_the_lock_back_first(tmp_path: Path) -> None:
    began, go_on, entered = threading.Event(), threading.Event(), asyncio.Event()

    def hold_up() -> None:
        began.set()
        go_on.wait()

    with ThreadPoolExecutor(1) as executor:

        async def work() -> None:
            async with LocalSink(tmp_path, "one", executor=executor) as sink, sink.lock("one"):
                entered.set()
                await asyncio.Event().wait()

        working = asyncio.ensure_future(work())
        await entered.wait()
        held_up = asyncio.get_running_loop().run_in_executor(executor, hold_up)
        while not began.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0)
        try:
            for _ in range(3):
                working.cancel()
                for _ in range(5):
                    await asyncio.sleep(0)
            assert not working.done()
        finally:
            go_on.set()
            await held_up
        with pytest.raises(asyncio.CancelledError):
            await working
        async with LocalSink(tmp_path, "two", executor=executor) as sink, sink.lock("two"):
            pass
