"""A table goes out and comes in, over two processes, and an independent reader finds every item exactly once.

Nothing of ddbio reads the results: boto3 and the standard library do. DDBIO_ROUNDTRIP_ITEMS sets the number of items.
"""

from __future__ import annotations

import gzip
import io
import json
import os
from collections import Counter
from collections.abc import Iterable
from itertools import product
from pathlib import Path

import pytest
import zstandard

from tests.kit.command import ddbio
from tests.kit.marks import few
from tests.kit.servers.aws import Server

ITEMS = int(os.environ.get("DDBIO_ROUNDTRIP_ITEMS", "3000"))


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of generated items."""
    file = tmp_path_factory.mktemp("generated") / "items.json"
    done = ddbio("generate", "-c", str(ITEMS), "-f", str(file), "--seed", "7", environment={})
    assert done.code == 0, done.err
    return file


def decompressed(name: str, data: bytes) -> bytes:
    """A file's content; the readers go over several gzip members and zstd frames."""
    if name.endswith(".gz"):
        return gzip.decompress(data)
    if name.endswith(".zst"):
        reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True)
        return reader.read()
    return data


def multiset(lines: Iterable[bytes]) -> Counter[str]:
    """Items by value, as they are in plain JSON or in DynamoDB JSON, and how often each occurs."""
    found: Counter[str] = Counter()
    for line in lines:
        item = json.loads(line)
        if "Item" in item:
            item = {name: value["S"] for name, value in item["Item"].items()}
        found[json.dumps(item, sort_keys=True)] += 1
    return found


@pytest.fixture(scope="module")
def stored(
    dynalite_process: Server, generated: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Counter[str]]:
    """A table that the generated items were imported into, and what boto3 finds in it."""
    table = dynalite_process.create_table(key=(("hash", "S"), ("range", "S")))
    state = tmp_path_factory.mktemp("state")
    come = ddbio(
        *("import", "-t", table, "-s", str(generated), "-p", "2", "-c", "100000", "--state", str(state)),
        environment=dynalite_process.environment(),
    )
    assert come.code == 0, come.err
    return table, multiset(
        json.dumps({name: value["S"] for name, value in item.items()}).encode()
        for item in dynalite_process.items(table)
    )


def test_every_item_is_imported_once(stored: tuple[str, Counter[str]], generated: Path) -> None:
    assert stored[1] == multiset(generated.read_bytes().splitlines())
    assert stored[1].total() == ITEMS


@pytest.mark.parametrize(("form", "compress"), few(product(["jsonl", "dynamodb-json"], ["none", "gzip", "zstd"]), 0, 4))
def test_every_item_is_exported_once(
    dynalite_process: Server,
    seaweed: Server,
    stored: tuple[str, Counter[str]],
    tmp_path: Path,
    form: str,
    compress: str,
) -> None:
    table, items = stored
    bucket = seaweed.create_bucket()
    environment = {**seaweed.environment(), "AWS_ENDPOINT_URL_DYNAMODB": dynalite_process.url}
    folder = tmp_path / "out"
    for destination in (str(folder), f"s3://{bucket}/backup"):
        gone = ddbio(
            *("export", "-t", table, "-d", destination, "-p", "2", "-c", "100000", "--json"),
            *("--format", form, "--compress", compress),
            environment=environment,
        )
        assert gone.code == 0, gone.err
        assert json.loads(gone.out)["items"] == ITEMS
    local = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    remote = {
        name.removeprefix("backup/"): data
        for name, data in seaweed.objects(bucket, "backup/").items()
        if "_ddbio" not in name
    }
    for files in (local, remote):
        lines = [line for name, data in files.items() for line in decompressed(name, data).splitlines()]
        assert multiset(lines) == items
    assert seaweed.uploads(bucket) == []
    assert not list(folder.glob("*.part"))
