"""What throttles a job is told: by the events, and in the report."""

from __future__ import annotations

import json
from pathlib import Path

from ddbio import Capacity, Connection, ImportOptions, import_table
from ddbio.events import Event, Progress, Warned
from tests.conftest import StartCounting
from tests.kit.servers.aws import REGION
from tests.kit.servers.http import Handler, Reply, Request
from tests.kit.servers.replies import throttled
from tests.kit.servers.tables import Table

REASON = "IndexWriteProvisionedThroughputExceeded"
INDEX = "arn:aws:dynamodb:us-east-1:123456789012:table/T/index/by-date"


async def test_a_starving_index_is_named_and_slows_an_adaptive_budget(counting: StartCounting, tmp_path: Path) -> None:
    left = 3

    async def starve(request: Request, serve: Handler) -> Reply:
        nonlocal left
        if request.operation != "BatchWriteItem" or not left:
            return await serve(request)
        left -= 1
        return throttled(REASON, INDEX)

    source = tmp_path / "items.json"
    source.write_text("".join(json.dumps({"pk": f"p{number}", "sk": number}) + "\n" for number in range(800)))
    server = await counting(Table(mode="stored", capacity=(1_000, 1_000)), on_request=starve)
    events: list[Event] = []
    report = await import_table(
        ImportOptions(
            table="T",
            source=str(source),
            state=str(tmp_path / "state"),
            connection=Connection(region=REGION, endpoint_url=server.url),
            capacity=Capacity(units=800, auto=True),
        ),
        observer=events.append,
    )
    assert (report.items, report.used.throttles) == (800, 3)
    assert report.throttle_reasons == {f"{REASON} by-date": 3}
    warned = [event.message for event in events if isinstance(event, Warned)]
    assert warned == [f"Index by-date throttles the job ({REASON}): its own capacity is too small."]
    progress = [event for event in events if isinstance(event, Progress)]
    assert any("throttled by index by-date: down from 500 to 250 units/s" in event.reason for event in progress)
