"""A table, as DescribeTable describes it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from ddbio.errors import PreflightError, UsageError
from ddbio.model import MAX_HASH_BYTES, MAX_RANGE_BYTES, KeyAttribute, KeyType
from ddbio.names import TABLE_NAME

Role = Literal["HASH", "RANGE"]
Billing = Literal["provisioned", "on-demand"]

_ARN = re.compile(rf"arn:[a-z0-9-]+:dynamodb:(?P<region>[a-z0-9-]+):\d+:table/{TABLE_NAME.pattern}")
_TYPES: dict[str, KeyType] = {"S": "S", "N": "N", "B": "B"}
_LIMITS: dict[Role, int] = {"HASH": MAX_HASH_BYTES, "RANGE": MAX_RANGE_BYTES}


class KeyElement(NamedTuple):
    name: str
    type: KeyType
    role: Role


@dataclass(frozen=True, kw_only=True)
class TableInfo:
    """A table, or one of its indexes if `index` is not None.

    `key_schema`, `item_count`, `size_bytes` and the capacity figures are those of the index, if there is one; `keys`
    are always the table's. `item_count` and `size_bytes` are up to six hours old.
    """

    name: str
    arn: str
    account: str
    region: str
    table_id: str
    status: str
    index: str | None
    indexes: tuple[str, ...]
    key_schema: tuple[KeyElement, ...]
    """The partition key first. A global index may have up to four of each role."""
    keys: tuple[KeyAttribute, ...]
    """The attributes that an item must have, or have in this type: the table's key (partition key first), then the key
    attributes of its indexes."""
    item_count: int
    size_bytes: int
    billing: Billing
    read_capacity: float | None
    """Units per second: the provisioned capacity, or else the warm throughput, or else None."""
    write_capacity: float | None
    max_on_demand_read: float | None
    """The limit that the owner set on an on-demand table, if any."""
    max_on_demand_write: float | None

    @property
    def partition_key(self) -> tuple[str, ...]:
        return tuple(element.name for element in self.key_schema if element.role == "HASH")

    @classmethod
    def parse(cls, description: Mapping[str, Any], index: str | None = None) -> TableInfo:
        """Parse the `Table` member of a DescribeTable reply.

        Raises `PreflightError` where the table has no such index, or an impossible name. A reply that describes no
        table raises LookupError, TypeError, ValueError or AttributeError.
        """
        name = description["TableName"]
        if not TABLE_NAME.fullmatch(name):  # it becomes part of file names
            raise PreflightError(f"The endpoint says that the table is called {name!r}, which is not a valid name.")
        types = {each["AttributeName"]: _TYPES[each["AttributeType"]] for each in description["AttributeDefinitions"]}
        global_indexes = description.get("GlobalSecondaryIndexes") or []
        all_indexes = (*global_indexes, *description.get("LocalSecondaryIndexes", []))
        indexes = {each["IndexName"]: each for each in all_indexes}
        if index is not None and index not in indexes:
            hint = f"It has {', '.join(indexes)}." if indexes else "It has no indexes at all."
            raise PreflightError(f"Table {name} has no index {index}.", hint=hint)
        chosen = description if index is None else indexes[index]
        # A local index has no capacity of its own: it uses the table's.
        paying = chosen if chosen in global_indexes else description
        required, optional = _constraints(_elements(each, types) for each in (description, *all_indexes))
        billing = _billing(description)
        arn = description["TableArn"].split(":")
        return cls(
            name=name,
            arn=description["TableArn"],
            account=arn[4],
            region=arn[3],
            table_id=description.get("TableId", ""),
            status=description["TableStatus"],
            index=index,
            indexes=tuple(indexes),
            key_schema=_elements(chosen, types),
            keys=required + optional,
            item_count=int(chosen.get("ItemCount", 0)),
            size_bytes=int(chosen.get("TableSizeBytes" if index is None else "IndexSizeBytes", 0)),
            billing=billing,
            read_capacity=_capacity(paying, billing, "Read"),
            write_capacity=_capacity(paying, billing, "Write"),
            max_on_demand_read=_on_demand_limit(paying, "Read"),
            max_on_demand_write=_on_demand_limit(paying, "Write"),
        )


def refuse_other_region(table: str, region: str) -> None:
    """Raise UsageError where `table` is an ARN, but not of a table in this region."""
    if not table.startswith("arn:"):
        return
    arn = _ARN.fullmatch(table)
    if arn is None:
        hint = "It looks like arn:aws:dynamodb:REGION:ACCOUNT:table/NAME."
        raise UsageError(f"{table} is not the ARN of a table.", hint=hint)
    if arn["region"] != region:
        hint = f"Give --region {arn['region']}."
        raise UsageError(f"{table} is in {arn['region']}, and the connection goes to {region}.", hint=hint)


def _elements(description: Mapping[str, Any], types: Mapping[str, KeyType]) -> tuple[KeyElement, ...]:
    elements = tuple(
        KeyElement(entry["AttributeName"], types[entry["AttributeName"]], entry["KeyType"])
        for entry in sorted(description["KeySchema"], key=lambda entry: entry["KeyType"] != "HASH")
    )
    if elements[0].role != "HASH":
        raise ValueError("There is no partition key.")
    return elements


def _constraints(schemas: Iterable[tuple[KeyElement, ...]]) -> tuple[tuple[KeyAttribute, ...], ...]:
    """The key attributes of the table, whose schema comes first, and those of its indexes alone; of several limits of
    an attribute, the smallest applies.
    """
    found: dict[str, KeyAttribute] = {}
    for number, schema in enumerate(schemas):
        for name, kind, role in schema:
            known = found.get(name, KeyAttribute(name, kind, MAX_HASH_BYTES, required=number == 0))
            found[name] = known._replace(limit=min(known.limit, _LIMITS[role]))
    keys = found.values()
    return tuple(key for key in keys if key.required), tuple(key for key in keys if not key.required)


def _billing(description: Mapping[str, Any]) -> Billing:
    summary = description.get("BillingModeSummary") or {}
    return "on-demand" if summary.get("BillingMode") == "PAY_PER_REQUEST" else "provisioned"


def _capacity(description: Mapping[str, Any], billing: Billing, kind: str) -> float | None:
    provisioned = (description.get("ProvisionedThroughput") or {}).get(f"{kind}CapacityUnits")
    if billing == "provisioned" and provisioned:
        return float(provisioned)
    warm = (description.get("WarmThroughput") or {}).get(f"{kind}UnitsPerSecond")
    return float(warm) if warm else None


def _on_demand_limit(description: Mapping[str, Any], kind: str) -> float | None:
    # -1 stands for "no limit" (API Reference, OnDemandThroughput).
    limit = (description.get("OnDemandThroughput") or {}).get(f"Max{kind}RequestUnits", -1)
    return float(limit) if limit > 0 else None
