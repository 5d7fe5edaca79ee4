"""What DescribeTable answers."""

from __future__ import annotations

from typing import Any


def description(**members: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "TableName": "T",
        "TableArn": "arn:aws:dynamodb:eu-west-1:123456789012:table/T",
        "TableId": "an-id",
        "TableStatus": "ACTIVE",
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": kind} for name, kind in zip("abcde", "SNSBS", strict=True)
        ],
        "KeySchema": [schema("b", "RANGE"), schema("a", "HASH")],
        "ProvisionedThroughput": {"ReadCapacityUnits": 50, "WriteCapacityUnits": 20},
        "ItemCount": 7,
        "TableSizeBytes": 700,
    }
    return base | members


def schema(name: str, role: str) -> dict[str, str]:
    return {"AttributeName": name, "KeyType": role}
