"""`BatchWriter` as an application uses it, on servers: what gets in, who is told of what does not, what is left."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from ddbio import BatchWriter, Capacity
from ddbio.errors import PreflightError, RefusedError, RejectedRecordError, UsageError
from tests.conftest import StartCounting
from tests.kit.direct import SECONDS, Gate, by_key, ended, item, stored, writing
from tests.kit.fakes import run_virtual
from tests.kit.servers.account import Account
from tests.kit.servers.aws import Server
from tests.kit.servers.counting import CountingServer
from tests.kit.servers.http import Handler, Reply, Request
from tests.kit.servers.items import make_item
from tests.kit.servers.replies import error_reply, leave_unprocessed
from tests.kit.servers.tables import Table


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncGenerator[None]:
    """No task outlives a test."""
    yield
    await ended()


@pytest.fixture
async def server(counting: StartCounting) -> CountingServer:
    """An empty table that keeps what it gets."""
    return await counting(Table(mode="stored"))


async def refuse_bad(request: Request, serve: Handler) -> Reply:
    """Refuses every batch with an item that has the attribute `bad`, as the service does: whole."""
    if request.operation == "BatchWriteItem":
        (writes,) = request.payload["RequestItems"].values()
        if any("bad" in write["PutRequest"]["Item"] for write in writes):
            return error_reply("ValidationException", "One or more parameter values were invalid")
    return await serve(request)


async def deny_writes(request: Request, serve: Handler) -> Reply:
    if request.operation == "BatchWriteItem":
        return error_reply("AccessDeniedException", "not authorized to perform: dynamodb:BatchWriteItem")
    return await serve(request)


async def test_everything_gets_in(dynamodb: Server) -> None:
    table = dynamodb.create_table()
    items = [make_item("nested", 3, number) for number in range(130)]
    async with BatchWriter(writing(dynamodb, table)) as writer:
        for each in items:
            await writer.put(each)
    assert by_key(dynamodb.items(table)) == by_key(items)


async def test_bytes_are_binary(dynamodb: Server) -> None:
    table = dynamodb.create_table()
    async with BatchWriter(writing(dynamodb, table)) as writer:
        await writer.put(item(1, raw={"B": b"\x00\xff"}))
    (found,) = dynamodb.items(table)
    assert found["raw"] == {"B": b"\x00\xff"}


async def test_the_last_of_a_key_stays(server: CountingServer) -> None:
    async with BatchWriter(writing(server)) as writer:
        for version in range(100):
            await writer.put(item(version % 3, version={"N": str(version)}))
    assert {each["version"]["N"] for each in stored(server).values()} == {97, 98, 99}


async def test_nothing_put_is_nothing_sent(server: CountingServer) -> None:
    async with BatchWriter(writing(server)):
        pass
    assert server.account.operations["BatchWriteItem"] == 0


async def test_an_impossible_item_is_refused_and_the_rest_goes_in(server: CountingServer) -> None:
    async with BatchWriter(writing(server)) as writer:
        for number in range(30):
            await writer.put(item(number))
            with pytest.raises(RejectedRecordError, match=r"^key_missing: ") as caught:
                await writer.put({"pk": {"S": "secret contents"}})
            assert "secret" not in str(caught.value)
            with pytest.raises(RejectedRecordError, match=r"^number_too_precise: "):
                await writer.put(item(number, n={"N": "1" * 39}))
    assert stored(server) == by_key([item(number) for number in range(30)])


async def test_what_the_service_refuses_is_told_at_the_end(server: CountingServer) -> None:
    server.on_request = refuse_bad
    good = [item(number) for number in range(20)]
    with pytest.raises(
        RejectedRecordError, match="refused 2 items: ValidationException: One or more parameter values were invalid"
    ):
        async with BatchWriter(writing(server)) as writer:
            for number, each in enumerate(good):
                await writer.put(each)
                if number in (3, 11):
                    await writer.put(item(1_000 + number, bad={"BOOL": True}))
    assert stored(server) == by_key(good)


async def test_what_the_service_refused_is_told_by_the_next_put(server: CountingServer) -> None:
    server.on_request = refuse_bad
    number = 0
    with pytest.raises(RejectedRecordError, match="The service refused 1 item:"):
        async with BatchWriter(writing(server, concurrency=1)) as writer:
            await writer.put(item(0, bad={"BOOL": True}))
            async with asyncio.timeout(SECONDS):
                while True:
                    number += 1
                    await writer.put(item(number))
    assert number > 24


async def test_an_index_key_of_the_wrong_type(dynalite: Server) -> None:
    table = dynalite.create_table(
        AttributeDefinitions=[{"AttributeName": "customer", "AttributeType": "S"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by-customer",
                "KeySchema": [{"AttributeName": "customer", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )
    async with BatchWriter(writing(dynalite, table)) as writer:
        await writer.put(item(1, customer={"S": "c"}))
        with pytest.raises(RejectedRecordError, match=r"^key_wrong_type: "):
            await writer.put(item(2, customer={"N": "1"}))
    assert by_key(dynalite.items(table)) == by_key([item(1, customer={"S": "c"})])


async def test_left_by_an_exception_it_sends_nothing_more(server: CountingServer) -> None:
    gate = Gate("BatchWriteItem")
    server.on_request = gate
    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(SECONDS), BatchWriter(writing(server, concurrency=2)) as writer:
            for number in range(60):
                await writer.put(item(number))
            await gate.reached.wait()
            raise ZeroDivisionError
    sent = server.account.operations["BatchWriteItem"]
    gate.opened.set()
    assert 1 <= sent <= 2
    await server.stop()
    assert server.account.operations["BatchWriteItem"] == sent


async def test_left_by_an_exception_it_sends_nothing_of_other_tasks(server: CountingServer) -> None:
    gate = Gate("BatchWriteItem")
    server.on_request = gate
    putting: list[asyncio.Task[None]] = []
    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(SECONDS), BatchWriter(writing(server, concurrency=1)) as writer:
            putting = [asyncio.create_task(put_all(writer, first, first + 30)) for first in (0, 100, 200)]
            await gate.reached.wait()
            raise ZeroDivisionError
    results = await asyncio.gather(*putting, return_exceptions=True)
    assert results[0] is None  # its items had all been taken
    assert [str(result) for result in results[1:]] == ["The writer was left before the end."] * 2
    assert server.account.operations["BatchWriteItem"] == 1
    gate.opened.set()


async def test_many_tasks_at_once(server: CountingServer) -> None:
    async with BatchWriter(writing(server, concurrency=3)) as writer, asyncio.TaskGroup() as group:
        for first in range(0, 2_000, 100):
            group.create_task(put_all(writer, first, first + 100))
    assert stored(server) == by_key([item(number) for number in range(2_000)])
    assert server.account.totals("write").items == 2_000


async def test_many_tasks_with_the_same_keys(server: CountingServer) -> None:
    """Large items, so that those that wait for their key fill what may wait."""

    async def put(task: int) -> None:
        for number in range(20):
            await writer.put(item(number % 2, task={"N": str(task)}, text={"S": "x" * 300_000}))

    async with asyncio.timeout(SECONDS), BatchWriter(writing(server, concurrency=3)) as writer:
        await asyncio.gather(*map(put, range(4)))
    assert len(stored(server)) == 2
    assert server.account.totals("write").items == 80


async def test_entered_in_one_task_and_used_in_others(server: CountingServer) -> None:
    """As the lifespan of a web application and its requests do."""
    started: asyncio.Future[BatchWriter] = asyncio.get_running_loop().create_future()
    ending = asyncio.Event()

    async def lifespan() -> None:
        async with BatchWriter(writing(server)) as writer:
            started.set_result(writer)
            await ending.wait()

    life = asyncio.create_task(lifespan())
    writer = await started
    await asyncio.gather(*(put_all(writer, first, first + 40) for first in range(0, 400, 40)))
    ending.set()
    await life
    assert stored(server) == by_key([item(number) for number in range(400)])
    with pytest.raises(UsageError, match="inside its `async with` block"):
        await writer.put(item(1))


async def test_entered_in_one_task_and_left_in_another(server: CountingServer) -> None:
    writer = BatchWriter(writing(server))
    await asyncio.create_task(writer.__aenter__())
    await asyncio.create_task(put_all(writer, 0, 30))
    await asyncio.create_task(writer.__aexit__(None, None, None))
    assert len(stored(server)) == 30


async def test_a_batch_that_fails_is_told_at_the_end(server: CountingServer) -> None:
    server.on_request = deny_writes
    with pytest.raises(RefusedError, match=r"AccessDeniedException: .*dynamodb:BatchWriteItem"):
        async with BatchWriter(writing(server)) as writer:
            await writer.put(item(1))
    assert server.account.operations["BatchWriteItem"] == 1


async def test_of_several_failed_batches_one_is_raised(
    server: CountingServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.on_request = gate = Gate("BatchWriteItem")

    async def deny(request: Request, serve: Handler) -> Reply:
        await gate(request, serve)
        return await deny_writes(request, serve)

    server.on_request = deny
    with pytest.raises(RefusedError, match="AccessDeniedException"):
        async with BatchWriter(writing(server)) as writer:
            await put_all(writer, 0, 400)
            await gate.reached.wait()
            gate.opened.set()
    gc.collect()
    assert server.account.operations["BatchWriteItem"] > 1
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []


async def test_a_failed_batch_is_raised_to_putters_and_cancels_nobody(server: CountingServer) -> None:
    server.on_request = deny_writes
    started: asyncio.Future[BatchWriter] = asyncio.get_running_loop().create_future()
    ending = asyncio.Event()

    async def lifespan() -> int:
        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(RefusedError, match="AccessDeniedException"):
            async with BatchWriter(writing(server, concurrency=1)) as writer:
                started.set_result(writer)
                await ending.wait()
        return task.cancelling()

    life = asyncio.create_task(lifespan())
    writer = await started
    async with asyncio.timeout(SECONDS):
        # More tasks than lanes: those that wait for one are told too.
        tasks = [put_all(writer, first, first + 100) for first in range(0, 1_000, 100)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, RefusedError) for result in results), results
    with pytest.raises(RefusedError, match="AccessDeniedException"):
        await writer.put(item(1))
    assert not life.done()
    ending.set()
    assert await life == 0


async def test_a_put_that_is_cancelled_loses_nobodys_items(server: CountingServer) -> None:
    gate = Gate("BatchWriteItem")
    server.on_request = gate
    async with asyncio.timeout(SECONDS), BatchWriter(writing(server, concurrency=1)) as writer:
        await put_all(writer, 0, 49)
        await gate.reached.wait()
        waiting = asyncio.create_task(writer.put(item(49)))
        await asyncio.sleep(0)  # it has filled the batch of the others, and waits for a lane
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        gate.opened.set()
    assert stored(server) == by_key([item(number) for number in range(50)])
    assert server.account.totals("write").items == 50


async def test_cancelled_inside_the_block(server: CountingServer) -> None:
    gate = Gate("BatchWriteItem")
    server.on_request = gate

    async def write() -> None:
        async with BatchWriter(writing(server, concurrency=1)) as writer:
            await put_all(writer, 0, 1_000)

    await cancelled(write(), gate)


async def test_cancelled_while_it_sends_the_rest(server: CountingServer) -> None:
    gate = Gate("BatchWriteItem")
    server.on_request = gate

    async def write() -> None:
        async with BatchWriter(writing(server)) as writer:
            await writer.put(item(1))

    await cancelled(write(), gate)


async def test_unprocessed_items_are_sent_until_they_are_in(server: CountingServer) -> None:
    tries: Counter[str] = Counter()

    async def some(request: Request, serve: Handler) -> Reply:
        if request.operation != "BatchWriteItem":
            return await serve(request)
        (writes,) = request.payload["RequestItems"].values()
        tries.update(write["PutRequest"]["Item"]["pk"]["S"] for write in writes)
        return await leave_unprocessed(request, serve, 4)

    server.on_request = some
    async with asyncio.timeout(SECONDS), BatchWriter(writing(server)) as writer:
        await put_all(writer, 0, 40)
    assert stored(server) == by_key([item(number) for number in range(40)])
    assert server.account.totals("write").items == 40
    assert max(tries.values()) > 2


def test_keeps_to_its_budget() -> None:
    budget, window = 25.0, 5

    async def write() -> Account:
        async with CountingServer(Table(mode="stored")) as server:
            server.account = Account(asyncio.get_running_loop().time)
            async with BatchWriter(writing(server, capacity=Capacity(units=budget))) as writer:
                await put_all(writer, 0, 300)
            return server.account

    account = run_virtual(write(), sockets=True)
    assert account.max_window("write", window) <= 1.02 * budget * window + 25
    assert account.mean("write") >= 0.95 * budget


async def test_a_missing_table(server: CountingServer) -> None:
    with pytest.raises(PreflightError, match="There is no table Missing"):
        await BatchWriter(writing(server, "Missing")).__aenter__()


async def put_all(writer: BatchWriter, first: int, end: int) -> None:
    for number in range(first, end):
        await writer.put(item(number))


async def cancelled(work: Any, gate: Gate) -> None:
    """Run `work`, and cancel it at its first batch; it ends at once."""
    task = asyncio.create_task(work)
    await gate.reached.wait()
    task.cancel()
    async with asyncio.timeout(SECONDS):
        with pytest.raises(asyncio.CancelledError):
            await task
    gate.opened.set()
