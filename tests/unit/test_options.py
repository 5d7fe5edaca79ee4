"""Options: what is refused when they are made, and what the command line makes of its flags."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from typing import Any

import pytest

import ddbio.jobs.export
import ddbio.jobs.import_
from ddbio.capacity import Control
from ddbio.cli import common, main
from ddbio.errors import UsageError
from ddbio.events import Observer
from ddbio.options import AUTO, Capacity, Connection, ExportOptions, ImportOptions, S3Options, ScanFilter
from ddbio.report import JobReport, Spending


@pytest.mark.parametrize(
    ("text", "capacity"),
    [
        ("1000", Capacity(units=1000)),
        (" 0.5 ", Capacity(units=0.5)),
        ("50%", Capacity(percent=50)),
        ("12.5 %", Capacity(percent=12.5)),
        ("100%", Capacity(percent=100)),
        ("auto", Capacity(auto=True)),
        ("auto:300", Capacity(auto=True, units=300)),
        ("1234567.5", Capacity(units=1234567.5)),
        ("auto:10000000", Capacity(auto=True, units=10_000_000)),
    ],
)
def test_capacity_is_read(text: str, capacity: Capacity) -> None:
    assert Capacity.parse(text) == capacity
    assert Capacity.parse(str(capacity)) == capacity


@pytest.mark.parametrize(
    "text", ["", "0", "0%", "101%", "-5", "1e3", "fast", "50%%", "nan", "inf", "1,000", "auto:", "auto:0", "auto:50%"]
)
def test_impossible_capacity_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Capacity.parse(text)


@pytest.mark.parametrize(
    "changes", [{"processes": 0}, {"concurrency": 0}, {"file_size_mb": 0}, {"segments": 0}, {"segments": 1_000_001}]
)
def test_impossible_export_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ExportOptions(table="T", destination="out", **changes)


@pytest.mark.parametrize("changes", [{"processes": 0}, {"concurrency": -1}, {"max_rejects": -1}])
def test_impossible_import_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ImportOptions(table="T", source="in", **changes)


def test_s3_options_become_request_parameters() -> None:
    assert S3Options().parameters() == {}
    assert S3Options(sse="aws:kms", kms_key_id="k", storage_class="STANDARD_IA", acl="private").parameters() == {
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "k",
        "StorageClass": "STANDARD_IA",
        "ACL": "private",
    }


class Jobs:
    """Stands in for the library: notes the options of each job, and reports success."""

    def __init__(self) -> None:
        self.asked: list[ExportOptions | ImportOptions] = []
        self.streams: list[object] = []

    async def export_table(
        self, options: ExportOptions, *, observer: Observer, output: object, control: Control
    ) -> JobReport:
        return self._report(options, output)

    async def import_table(
        self,
        options: ImportOptions,
        *,
        observer: Observer,
        input: object,  # noqa: A002
        control: Control,
    ) -> JobReport:
        return self._report(options, input)

    def _report(self, options: ExportOptions | ImportOptions, stream: object) -> JobReport:
        self.asked.append(options)
        self.streams.append(stream)
        counts = dict.fromkeys(("bytes", "files", "rejected", "peak_rss_bytes"), 0)
        return JobReport(
            command="export" if isinstance(options, ExportOptions) else "import",
            table=options.table,
            items=0,
            rejects=None,
            used=Spending(seconds=1.0),
            resumed=False,
            manifest=None,
            **counts,  # type: ignore[arg-type]
        )


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    """No job runs; the signal handlers and the logging of the test run stay what they are."""
    jobs = Jobs()
    monkeypatch.setattr(ddbio.jobs.export, "export_table", jobs.export_table)
    monkeypatch.setattr(ddbio.jobs.import_, "import_table", jobs.import_table)
    handler, log, level = signal.getsignal(signal.SIGTERM), logging.root.handlers[:], logging.getLogger("ddbio").level
    yield jobs
    signal.signal(signal.SIGTERM, handler)
    logging.root.handlers[:] = log
    logging.getLogger("ddbio").setLevel(level)


def test_shortest_export(jobs: Jobs) -> None:
    assert main(["export", "-t", "T", "-d", "out"]) == 0
    assert jobs.asked == [ExportOptions(table="T", destination="out", capacity=AUTO, processes=common.cores())]
    assert jobs.streams == [None]


def test_export_with_every_flag(jobs: Jobs) -> None:
    line = """export -r eu-west-1 -t T -p 8 -c 1000 -s 512 -d s3://b/p --concurrency 3 --segments 40
        --format dynamodb-json --compress zstd --consistent-read --index I --overwrite --sse aws:kms --sse-kms-key-id K
        --storage-class GLACIER --acl private --profile P --endpoint-url http://e --dynamodb-endpoint-url http://d
        --s3-endpoint-url http://s --json --quiet --verbose"""
    names, values = '{"#y": "year"}', '{":y": {"N": "1999"}}'
    expressions = ["--filter-expression", "#y < :y", "--projection-expression", "id, #y"]
    expressions += ["--expression-names", names, "--expression-values", values]
    assert main([*line.split(), *expressions]) == 0
    assert jobs.asked == [
        ExportOptions(
            table="T",
            destination="s3://b/p",
            connection=Connection(
                region="eu-west-1",
                profile="P",
                endpoint_url="http://e",
                dynamodb_endpoint_url="http://d",
                s3_endpoint_url="http://s",
            ),
            capacity=Capacity(units=1000),
            processes=8,
            concurrency=3,
            segments=40,
            file_size_mb=512,
            format="dynamodb-json",
            compress="zstd",
            scan=ScanFilter(
                index="I",
                consistent=True,
                filter_expression="#y < :y",
                projection_expression="id, #y",
                expression_names={"#y": "year"},
                expression_values={":y": {"N": "1999"}},
            ),
            overwrite=True,
            s3=S3Options(sse="aws:kms", kms_key_id="K", storage_class="GLACIER", acl="private"),
        )
    ]


def test_shortest_import(jobs: Jobs) -> None:
    assert main(["import", "-t", "T", "-s", "in.json"]) == 0
    assert jobs.asked == [ImportOptions(table="T", source="in.json", processes=common.cores())]


def test_import_with_every_flag(jobs: Jobs) -> None:
    line = (
        "import -r eu-west-1 -t T -s in -p 4 -c 25% --concurrency 5 --format jsonl --rejects r.jsonl --max-rejects 0 "
        "--strict --allow-partial --state st --profile P --endpoint-url http://e --dynamodb-endpoint-url http://d "
        "--s3-endpoint-url http://s --json --quiet --verbose"
    )
    assert main(line.split()) == 0
    assert jobs.asked == [
        ImportOptions(
            table="T",
            source="in",
            connection=Connection(
                region="eu-west-1",
                profile="P",
                endpoint_url="http://e",
                dynamodb_endpoint_url="http://d",
                s3_endpoint_url="http://s",
            ),
            capacity=Capacity(percent=25),
            processes=4,
            concurrency=5,
            format="jsonl",
            rejects="r.jsonl",
            max_rejects=0,
            strict=True,
            allow_partial=True,
            state="st",
        )
    ]


def test_import_of_several_sources(jobs: Jobs) -> None:
    assert main(["import", "-t", "T", "-s", "b", "--source", "s3://a/a", "-s", "b"]) == 0
    assert jobs.asked == [ImportOptions(table="T", source=("b", "s3://a/a", "b"), processes=common.cores())]
    assert jobs.streams == [None]


@pytest.mark.parametrize("line", ["export -t T -d - -p 8", "import -t T -s - -p 8"])
def test_a_stream_runs_inline(jobs: Jobs, line: str) -> None:
    assert main(line.split()) == 0
    assert [options.processes for options in jobs.asked] == [1]
    assert jobs.streams != [None]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("export -t T", "'--destination' / '-d'"),
        ("export -d out", "'--table' / '-t'"),
        ("export -t T -d out -c lots", "'--capacity' / '-c': 'lots' is not a capacity. Give units per second"),
        ("export -t T -d out -c 150%", "must be greater than 0% and at most 100%, not 150%"),
        ("export -t T -d out -p 0", "'--processes' / '-p': '0' is not a whole number of at least 1"),
        ("export -t T -d out -p two", "'--processes' / '-p': 'two' is not a whole number"),
        ("export -t T -d out -s 0.5", "'--size' / '-s': '0.5' is not a whole number"),
        ("export -t T -d out --segments 1000001", "'1000001' is not a whole number from 1 to 1,000,000"),
        ("export -t T -d out --format csv", "'--format': 'csv' is not valid: choose jsonl or dynamodb-json"),
        ("export -t T -d out --compress lz4", "'lz4' is not valid: choose none, gzip or zstd"),
        ("export -t T -d s3://b/p --sse x", "'--sse': 'x' is not valid: choose AES256, aws:kms or aws:kms:dsse"),
        ("export -t T -d out --expression-names [1]", "'--expression-names': '[1]' is not a JSON object"),
        ("export -t T -d out --expression-values {", "'--expression-values': '{' is not valid JSON"),
        ("export -t T -d out --expression-values " + "[" * 20_000, "is not valid JSON"),
        ("export -t T -d - --json", "--json and -d - both write to standard output"),
        ("export -t T -d out --acl private", "apply to S3 only"),
        ("export -t T -d out --colour", "No such option: --colour"),
        ("import -t T", "'--source' / '-s'"),
        ("import -t T -s - -s in", "Standard input can't be combined with other sources."),
        ("import -t T -s in --max-rejects -1", "'--max-rejects': '-1' is not a whole number of at least 0"),
        ("generate -c -5 -f x", "'--count' / '-c': '-5' is not a whole number of at least 0"),
        ("generate -c 5 -f x --shape round", "choose small, large or nested"),
        ("demo --items 0", "'--items': '0' is not a whole number from 1 to"),
        ("exprt", "No such command 'exprt'"),
    ],
)
def test_wrong_usage_is_one_clear_line(jobs: Jobs, capsys: pytest.CaptureFixture[str], line: str, told: str) -> None:
    assert main(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert told in err
    assert jobs.asked == []
