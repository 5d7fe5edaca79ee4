"""The fault proxy by hand (see the package)."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Sequence
from functools import partial

import uvloop

from tests.kit.faults.capacity import PARTITION_READ, PARTITION_WRITE, Limits
from tests.kit.faults.credentials import KeyRing
from tests.kit.faults.proxy import FaultProxy
from tests.kit.faults.schedule import KINDS, PRESETS, Schedule
from tests.kit.servers.aws import ACCESS_KEY, SECRET_KEY
from tests.kit.servers.byhand import serve_until_stopped


def _rate(text: str) -> tuple[str, float]:
    kind, _, rate = text.partition("=")
    if kind not in KINDS:
        raise argparse.ArgumentTypeError(f"{kind} is none of {', '.join(KINDS)}")
    return kind, float(rate)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.kit.faults", description="A proxy that makes faults on purpose."
    )
    parser.add_argument("--upstream", required=True, metavar="URL", help="a DynamoDB or S3 server, or both in one")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", type=int, help="default: a new one, which is printed")
    faults = parser.add_argument_group("faults")
    faults.add_argument("--faults", choices=PRESETS, default="none")
    faults.add_argument("--rate", type=_rate, action="append", default=[], metavar="KIND=SHARE", help="of this kind")
    faults.add_argument("--longest-pause", type=float, default=0.05, metavar="SECONDS", help="of the kind latency")
    capacity = parser.add_argument_group("capacity, per second")
    both = partial(capacity.add_argument, type=float, nargs=2, metavar=("READ", "WRITE"))
    both("--capacity", help="of each table; default: no limit")
    capacity.add_argument("--partitions", type=int, default=1, help="of each table")
    both("--partition-capacity", default=(PARTITION_READ, PARTITION_WRITE), help="default: the service's")
    capacity.add_argument("--burst", type=float, default=1.0, metavar="SECONDS", help="of unused capacity that is kept")
    keys = parser.add_argument_group("credentials")
    keys.add_argument(
        "--key-life",
        type=int,
        metavar="REQUESTS",
        help="serve /_credentials, with keys that are valid for this number of requests",
    )
    keys.add_argument("--key-seconds", type=float, default=3600.0, help="to the Expiration that is told")
    keys.add_argument("--credential-failures", type=float, default=0.0, metavar="SHARE", help="of questions for a key")
    keys.add_argument("--access-key", default=ACCESS_KEY, help="of the upstream, for what the proxy does there itself")
    keys.add_argument("--secret-key", default=SECRET_KEY)
    return parser


def _limits(options: argparse.Namespace) -> Limits | None:
    if options.capacity is None:
        return None
    read, write = options.capacity
    partition_read, partition_write = options.partition_capacity
    return Limits(
        read=read,
        write=write,
        partitions=options.partitions,
        partition_read=partition_read,
        partition_write=partition_write,
        burst=options.burst,
    )


def _keys(options: argparse.Namespace, seed: int) -> KeyRing | None:
    if options.key_life is None:
        return None
    return KeyRing(options.key_life, failures=options.credential_failures, seconds=options.key_seconds, seed=seed)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM."""
    options = _parser().parse_args(arguments)
    seed = secrets.randbits(32) if options.seed is None else options.seed
    proxy = FaultProxy(
        options.upstream,
        Schedule(seed, {**PRESETS[options.faults], **dict(options.rate)}, options.longest_pause),
        limits=_limits(options),
        keys=_keys(options, seed),
        access_key=options.access_key,
        secret_key=options.secret_key,
    )
    uvloop.run(serve_until_stopped(proxy, options.port, seed=seed))


if __name__ == "__main__":
    main()
