"""Reading a table's description."""

from __future__ import annotations

from typing import Any

import pytest

from ddbio.aws.table import KeyElement, TableInfo
from ddbio.errors import PreflightError
from ddbio.model import KeyAttribute
from tests.kit.descriptions import description, schema

GLOBAL = {
    "IndexName": "g",
    "KeySchema": [schema("c", "HASH"), schema("d", "HASH"), schema("a", "RANGE"), schema("e", "RANGE")],
    "ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 6},
    "ItemCount": 3,
    "IndexSizeBytes": 30,
}
LOCAL = {
    "IndexName": "l",
    "KeySchema": [schema("a", "HASH"), schema("d", "RANGE")],
    "ItemCount": 2,
    "IndexSizeBytes": 20,
}
ON_DEMAND = {
    "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
    "ProvisionedThroughput": {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0},
}


def test_a_provisioned_table() -> None:
    info = TableInfo.parse(description())
    assert (info.name, info.account, info.region, info.table_id) == ("T", "123456789012", "eu-west-1", "an-id")
    assert info.key_schema == (KeyElement("a", "S", "HASH"), KeyElement("b", "N", "RANGE"))
    assert info.keys == (KeyAttribute("a", "S", 2048), KeyAttribute("b", "N", 1024))
    assert info.indexes == ()
    assert (info.item_count, info.size_bytes) == (7, 700)
    assert (info.billing, info.read_capacity, info.write_capacity) == ("provisioned", 50, 20)


def test_index_keys_are_optional_and_the_least_limit_counts() -> None:
    info = TableInfo.parse(description(GlobalSecondaryIndexes=[GLOBAL], LocalSecondaryIndexes=[LOCAL]))
    assert info.indexes == ("g", "l")
    assert info.keys == (
        KeyAttribute("a", "S", 1024),  # also a sort key of the global index
        KeyAttribute("b", "N", 1024),
        KeyAttribute("c", "S", 2048, required=False),
        KeyAttribute("d", "B", 1024, required=False),
        KeyAttribute("e", "S", 1024, required=False),
    )


def test_an_index_has_its_own_figures_a_local_one_no_capacity() -> None:
    table = description(GlobalSecondaryIndexes=[GLOBAL], LocalSecondaryIndexes=[LOCAL])
    wide, local = TableInfo.parse(table, "g"), TableInfo.parse(table, "l")
    assert (wide.item_count, wide.size_bytes, wide.read_capacity, wide.write_capacity) == (3, 30, 5, 6)
    assert [element.role for element in wide.key_schema] == ["HASH", "HASH", "RANGE", "RANGE"]
    assert (local.item_count, local.size_bytes, local.read_capacity, local.write_capacity) == (2, 20, 50, 20)
    assert wide.keys == local.keys == TableInfo.parse(table).keys


def test_a_missing_index_is_answered_with_those_that_are_there() -> None:
    with pytest.raises(PreflightError, match=r"no index x\. It has g\."):
        TableInfo.parse(description(GlobalSecondaryIndexes=[GLOBAL]), "x")


@pytest.mark.parametrize(
    ("members", "capacity", "limits"),
    [
        ({}, (None, None), (None, None)),
        (
            {"WarmThroughput": {"ReadUnitsPerSecond": 12_000, "WriteUnitsPerSecond": 4_000}},
            (12_000, 4_000),
            (None, None),
        ),
        ({"OnDemandThroughput": {"MaxReadRequestUnits": 9, "MaxWriteRequestUnits": -1}}, (None, None), (9, None)),
    ],
)
def test_an_on_demand_table(members: dict[str, Any], capacity: object, limits: object) -> None:
    info = TableInfo.parse(description(**ON_DEMAND, **members))
    assert info.billing == "on-demand"
    assert (info.read_capacity, info.write_capacity) == capacity
    assert (info.max_on_demand_read, info.max_on_demand_write) == limits
