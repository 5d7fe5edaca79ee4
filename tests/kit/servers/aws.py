"""A server to test against, and what a test does with it through boto3 alone."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3
from botocore.config import Config

ACCESS_KEY = "AKIATESTTESTTESTTEST"
SECRET_KEY = "test-secret"
REGION = "us-east-1"
Key = tuple[tuple[str, str], ...]
DEFAULT_KEY: Key = (("pk", "S"), ("sk", "N"))


@dataclass(frozen=True)
class Server:
    """Where a server listens and what it accepts; `name` tells which one it is (for example `dynalite`)."""

    name: str
    url: str
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    region: str = REGION

    def client(self, service: str) -> Any:
        """A boto3 client (always the same one) that validates nothing itself and does not retry."""
        return _client(self, service)

    def environment(self) -> dict[str, str]:
        """The variables that make a subprocess talk to this server, for both services."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
        }

    def create_table(
        self,
        name: str | None = None,
        key: Key = DEFAULT_KEY,
        capacity: tuple[int, int] | None = None,
        **members: Any,
    ) -> str:
        """Make a table (on demand where no read and write capacity is given) and return its name.

        `members` are further members of CreateTable; `AttributeDefinitions` among them are added to the key's.
        """
        name = name or f"Table-{uuid.uuid4().hex[:12]}"
        attributes = [{"AttributeName": attribute, "AttributeType": kind} for attribute, kind in key]
        client = self.client("dynamodb")
        client.create_table(
            TableName=name,
            AttributeDefinitions=attributes + members.pop("AttributeDefinitions", []),
            KeySchema=[
                {"AttributeName": attribute, "KeyType": role}
                for (attribute, _), role in zip(key, ("HASH", "RANGE"), strict=False)
            ],
            **_billing(capacity),
            **members,
        )
        client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
        return name

    def put_items(self, table: str, items: Iterable[Mapping[str, Any]]) -> None:
        """Write items given as DynamoDB JSON with native bytes for binary, as boto3's low-level client takes them."""
        client = self.client("dynamodb")
        writes = [{"PutRequest": {"Item": item}} for item in items]
        for first in range(0, len(writes), 25):
            reply = client.batch_write_item(RequestItems={table: writes[first : first + 25]})
            if reply["UnprocessedItems"]:
                raise RuntimeError(f"{self.name} left items unprocessed")

    def items(self, table: str) -> list[dict[str, Any]]:
        """Every item, as boto3's low-level client gives them, read strongly."""
        pages = self.client("dynamodb").get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        return [item for page in pages for item in page["Items"]]

    def drop_tables(self) -> None:
        """Delete every table, and wait until they are gone."""
        client = self.client("dynamodb")
        names = [name for page in client.get_paginator("list_tables").paginate() for name in page["TableNames"]]
        for name in names:
            client.delete_table(TableName=name)
        for name in names:
            client.get_waiter("table_not_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})

    def create_bucket(self, name: str | None = None) -> str:
        """Make a bucket and return its name."""
        name = name or f"bucket-{uuid.uuid4().hex[:12]}"
        self.client("s3").create_bucket(Bucket=name)
        return name

    def objects(self, bucket: str, prefix: str = "") -> dict[str, bytes]:
        """Every object under a prefix: its key and its whole content."""
        client = self.client("s3")
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}

    def uploads(self, bucket: str) -> list[str]:
        """The keys of multipart uploads that are neither completed nor aborted."""
        return [entry["Key"] for entry in self.client("s3").list_multipart_uploads(Bucket=bucket).get("Uploads", [])]


@cache
def _client(server: Server, service: str) -> Any:
    return boto3.session.Session().client(
        service,
        endpoint_url=server.url,
        region_name=server.region,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        config=Config(
            parameter_validation=False, retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, proxies={}
        ),
    )


def _billing(capacity: tuple[int, int] | None) -> dict[str, Any]:
    if capacity is None:
        return {"BillingMode": "PAY_PER_REQUEST"}
    return {"ProvisionedThroughput": {"ReadCapacityUnits": capacity[0], "WriteCapacityUnits": capacity[1]}}
