"""The servers that the other tests trust, each through boto3."""

from __future__ import annotations

from tests.kit.servers.aws import Server


def test_a_table_keeps_what_was_put(dynamodb: Server) -> None:
    items = [
        {"pk": {"S": f"k{index}"}, "sk": {"N": str(index)}, "b": {"B": b"\x00\xff"}, "s": {"SS": ["a", "b"]}}
        for index in range(60)
    ]
    table = dynamodb.create_table(capacity=(100, 50))
    dynamodb.put_items(table, items)
    assert sorted(dynamodb.items(table), key=lambda item: int(item["sk"]["N"])) == items


def test_a_server_starts_each_test_without_tables(dynamodb: Server) -> None:
    assert dynamodb.client("dynamodb").list_tables()["TableNames"] == []


def test_a_bucket_keeps_objects_and_open_uploads(s3: Server) -> None:
    bucket = s3.create_bucket()
    s3.client("s3").put_object(Bucket=bucket, Key="a/b", Body=b"hello")
    s3.client("s3").create_multipart_upload(Bucket=bucket, Key="a/c")
    assert s3.objects(bucket, "a/") == {"a/b": b"hello"}
    assert s3.uploads(bucket) == ["a/c"]
