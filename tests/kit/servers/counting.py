"""A DynamoDB server for tests and benchmarks that counts, to the unit and the instant, what it serves and takes.

In a test:

    async with CountingServer(Table(name="T", items=10_000)) as server:
        ...  # talk to server.url with any DynamoDB client
        assert server.account.max_window("read", 5) <= 1000

By hand: it prints one JSON line with its URL when it listens; GET /_account shows the account, DELETE resets it.

    python -m tests.kit.servers.counting --mode canned --size-mb 2048

It speaks DescribeTable, Scan (no filter, projection or index) and BatchWriteItem (puts only). It checks keys, sizes and
duplicates, not every rule for attribute values: dynalite is the strict server.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable, Sequence
from decimal import InvalidOperation
from types import TracebackType
from typing import Any, Self, get_args
from urllib.parse import parse_qs, urlsplit

import msgspec
import uvloop

from tests.kit.servers.account import Account
from tests.kit.servers.byhand import serve_until_stopped
from tests.kit.servers.http import HttpServer, Reply, Request
from tests.kit.servers.items import Shape, item_size, items_for
from tests.kit.servers.replies import FaultError, Hook, error_reply, json_reply
from tests.kit.servers.tables import Mode, ScanPage, StartKeyError, StoredRows, Table, key_values
from tests.kit.servers.units import asks_for_units, consumed, read_units, write_units

ACCOUNT_ID = "123456789012"
REGION = "us-east-1"
TABLE_ID = "00000000-0000-4000-8000-000000000000"
CREATED = 1_700_000_000.0
MAX_PUTS = 25
MAX_ITEM_BYTES = 400 * 1024
MAX_BATCH_BYTES = 16 * 1024 * 1024
MAX_LIMIT = 2**31 - 1

SCAN_MEMBERS = frozenset(
    {"TableName", "Segment", "TotalSegments", "Limit", "ExclusiveStartKey", "ReturnConsumedCapacity", "ConsistentRead"}
)


class CountingServer:
    """Serves `tables` (one empty on-demand table `T` where none is given) on 127.0.0.1.

    `on_request`, which may be set at any time, stands before the server and may answer in its place
    (`tests.kit.servers.replies`). What it answers by itself is not in the account.
    """

    def __init__(self, *tables: Table, on_request: Hook | None = None) -> None:
        self.tables = {table.name: table for table in tables or (Table(),)}
        self.on_request = on_request
        self.account = Account()
        self.url = ""
        self._http = HttpServer(self._handle)
        self._operations: dict[str, Callable[[dict[str, Any]], Reply]] = {
            "DescribeTable": self._describe_table,
            "Scan": self._scan,
            "BatchWriteItem": self._batch_write_item,
        }

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        """Listen; `url` tells where."""
        self.url = f"http://127.0.0.1:{await self._http.start(port)}"

    async def stop(self) -> None:
        """Close every connection. Raises an ExceptionGroup of what went wrong in the server or in the hook."""
        await self._http.stop()

    def stored(self, table: str = "T") -> StoredRows:
        """The rows of a table in `stored` mode."""
        rows = self.tables[table].rows
        if not isinstance(rows, StoredRows):
            raise TypeError(f"table {table} does not store its items")
        return rows

    async def _handle(self, request: Request) -> Reply:
        if urlsplit(request.path).path == "/_account":
            return self._tell_account(request)
        self.account.operations[request.operation] += 1
        if self.on_request is not None:
            return await self.on_request(request, self._serve)
        return await self._serve(request)

    async def _serve(self, request: Request) -> Reply:
        operation = self._operations.get(request.operation)
        if operation is None:
            return error_reply("UnknownOperationException", "")
        if not request.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 "):
            return error_reply("MissingAuthenticationTokenException", "Request is missing Authentication Token")
        if len(request.body) > MAX_BATCH_BYTES:
            return error_reply("RequestEntityTooLarge", "Request body is larger than 16 MB", 413)
        try:
            return operation(request.payload)
        except FaultError as fault:
            return fault.reply
        except msgspec.DecodeError:
            return error_reply("SerializationException", "")

    def _tell_account(self, request: Request) -> Reply:
        if request.method == "DELETE":
            self.account.reset()
        windows = parse_qs(urlsplit(request.path).query).get("window", ["1", "5"])
        return json_reply(self.account.summary(map(float, windows)))

    def _table(self, name: str, missing: str = "Requested resource not found") -> Table:
        table = self.tables.get(name.rpartition("/")[2] if name.startswith("arn:") else name)
        if table is None:
            raise FaultError("ResourceNotFoundException", missing)
        return table

    def _describe_table(self, payload: dict[str, Any]) -> Reply:
        name = payload["TableName"]
        table = self._table(name, f"Requested resource not found: Table: {name} not found")
        return json_reply({"Table": _description(table)})

    def _scan(self, payload: dict[str, Any]) -> Reply:
        table = self._table(payload["TableName"])
        page = _page(table, payload)
        units = read_units(page.size, payload.get("ConsistentRead", False))
        self.account.record("read", units, page.items)
        tail: dict[str, Any] = {"Count": page.items, "ScannedCount": page.items}
        if asks_for_units(payload):
            tail["ConsumedCapacity"] = consumed(payload, payload["TableName"], units)
        if page.last_key is not None:
            tail["LastEvaluatedKey"] = page.last_key
        end = b"," + msgspec.json.encode(tail)[1:]
        return Reply((page.head, end), crc=zlib.crc32(end, page.crc))

    def _batch_write_item(self, payload: dict[str, Any]) -> Reply:
        requests: dict[str, list[Any]] = payload["RequestItems"]
        if not 1 <= sum(map(len, requests.values())) <= MAX_PUTS:
            raise FaultError("ValidationException", "Too many items requested for the BatchWriteItem call")
        tables = {name: self._table(name) for name in requests}
        puts = {name: _checked_puts(tables[name], writes) for name, writes in requests.items()}
        units = {name: _put_all(tables[name], table_puts) for name, table_puts in puts.items()}
        self.account.record("write", sum(units.values()), sum(map(len, puts.values())))
        reply: dict[str, Any] = {"UnprocessedItems": {}}
        if asks_for_units(payload):
            reply["ConsumedCapacity"] = [consumed(payload, name, spent) for name, spent in units.items()]
        return json_reply(reply)


def _page(table: Table, payload: dict[str, Any]) -> ScanPage:
    """The page that this Scan asks for, once the request is found valid."""
    if unknown := payload.keys() - SCAN_MEMBERS:
        raise FaultError("ValidationException", f"The counting server does not know {', '.join(sorted(unknown))}")
    segment, segments, limit = payload.get("Segment"), payload.get("TotalSegments"), payload.get("Limit", MAX_LIMIT)
    if problem := _scan_problem(segment, segments, limit):
        raise FaultError("ValidationException", problem)
    segment, segments = segment or 0, segments or 1
    try:
        return table.rows.page(segment, segments, payload.get("ExclusiveStartKey"), limit)
    except (StartKeyError, KeyError, InvalidOperation):
        raise FaultError(
            "ValidationException",
            "The provided starting key is invalid: Invalid ExclusiveStartKey. Please use ExclusiveStartKey with "
            f"correct Segment. TotalSegments: {segments} Segment: {segment}",
        ) from None


def _scan_problem(segment: int | None, segments: int | None, limit: int) -> str | None:
    if limit < 1:
        return (
            f"1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: "
            "Member must have value greater than or equal to 1"
        )
    if segment is None and segments is None:
        return None
    if segments is None:
        return (
            "The TotalSegments parameter is required but was not present in the request "
            "when Segment parameter is present"
        )
    if segment is None:
        return (
            "The Segment parameter is required but was not present in the request "
            "when parameter TotalSegments is present"
        )
    if segment >= segments:
        return (
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: "
            f"Segment: {segment} is not less than TotalSegments: {segments}"
        )
    return None


def _checked_puts(table: Table, writes: list[Any]) -> list[tuple[dict[str, Any], int]]:
    """The items to put with their sizes. Raises FaultError where one of them is refused: then none is taken."""
    puts = []
    keys = set()
    for write in writes:
        if write.keys() != {"PutRequest"}:
            raise FaultError("ValidationException", "The counting server takes nothing but PutRequest")
        item = write["PutRequest"]["Item"]
        puts.append((item, _checked_size(item)))
        keys.add(_checked_key(table, item))
    if len(keys) < len(puts):
        raise FaultError("ValidationException", "Provided list of item keys contains duplicates")
    return puts


def _checked_key(table: Table, item: dict[str, Any]) -> tuple[object, ...]:
    try:
        values = key_values(table.key, item)
    except (KeyError, InvalidOperation):
        raise FaultError("ValidationException", "The provided key element does not match the schema") from None
    if "" in values:
        raise FaultError(
            "ValidationException",
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an "
            "empty string value.",
        )
    return values


def _checked_size(item: dict[str, Any]) -> int:
    try:
        size = item_size(item)
    except (TypeError, AttributeError):
        raise FaultError("SerializationException", "") from None
    except (KeyError, ValueError, InvalidOperation):
        raise FaultError("ValidationException", "Supplied AttributeValue is not valid") from None
    if size > MAX_ITEM_BYTES:
        raise FaultError("ValidationException", "Item size has exceeded the maximum allowed size")
    return size


def _put_all(table: Table, puts: list[tuple[dict[str, Any], int]]) -> float:
    """Keep the items, where the table does, and return the units that they cost."""
    rows = table.rows
    if isinstance(rows, StoredRows):
        return float(sum(write_units(max(rows.put(item, size), size)) for item, size in puts))
    return float(sum(write_units(size) for _, size in puts))


def _description(table: Table) -> dict[str, Any]:
    """What DescribeTable tells, with the members that the service always sends."""
    read, write = table.capacity or (0, 0)
    description: dict[str, Any] = {
        "TableName": table.name,
        "TableArn": f"arn:aws:dynamodb:{REGION}:{ACCOUNT_ID}:table/{table.name}",
        "TableId": TABLE_ID,
        "TableStatus": "ACTIVE",
        "CreationDateTime": CREATED,
        "ItemCount": len(table.rows),
        "TableSizeBytes": table.rows.size,
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": kind} for name, kind in table.key],
        "KeySchema": [
            {"AttributeName": name, "KeyType": role}
            for (name, _), role in zip(table.key, ("HASH", "RANGE"), strict=False)
        ],
        "ProvisionedThroughput": {
            "NumberOfDecreasesToday": 0,
            "ReadCapacityUnits": read,
            "WriteCapacityUnits": write,
        },
        "DeletionProtectionEnabled": False,
    }
    if table.capacity is None:
        description["BillingModeSummary"] = {
            "BillingMode": "PAY_PER_REQUEST",
            "LastUpdateToPayPerRequestDateTime": CREATED,
        }
    if table.warm is not None:
        read, write = table.warm
        description["WarmThroughput"] = {"ReadUnitsPerSecond": read, "WriteUnitsPerSecond": write, "Status": "ACTIVE"}
    return description


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.kit.servers.counting", description="A DynamoDB that counts.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--table", default="T")
    parser.add_argument("--mode", choices=get_args(Mode), default="generated")
    parser.add_argument("--shape", choices=get_args(Shape), default="small")
    parser.add_argument("--seed", type=int, default=0)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--items", type=int, default=0)
    size.add_argument("--size-mb", type=int)
    parser.add_argument("--capacity", type=int, nargs=2, metavar=("READ", "WRITE"), help="default: on demand")
    parser.add_argument("--warm", type=int, nargs=2, metavar=("READ", "WRITE"))
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve one table until SIGINT or SIGTERM."""
    options = _arguments(arguments)
    table = Table(
        name=options.table,
        mode=options.mode,
        items=options.items if options.size_mb is None else items_for(options.shape, options.size_mb * 1024 * 1024),
        shape=options.shape,
        seed=options.seed,
        capacity=options.capacity and tuple(options.capacity),
        warm=options.warm and tuple(options.warm),
    )
    uvloop.run(serve_until_stopped(CountingServer(table), options.port))


if __name__ == "__main__":
    main()
