"""Which request meets which fault: a pure function of a seed, the request's operation and its number."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import NamedTuple

DYNAMODB = frozenset(
    {"Scan", "Query", "BatchWriteItem", "BatchGetItem", "PutItem", "GetItem", "UpdateItem", "DeleteItem"}
)
"""DynamoDB's data plane. The control plane is spared: it is somebody else's client, with retries of its own."""
UPLOADS = frozenset({"PutObject", "UploadPart"})
READS = frozenset({"GetObject", "ListObjectsV2", "ListParts", "ListMultipartUploads"})
MULTIPART = frozenset({"CreateMultipartUpload", "CompleteMultipartUpload", "AbortMultipartUpload"})
S3 = UPLOADS | READS | MULTIPART | {"HeadObject", "CopyObject", "DeleteObject", "DeleteObjects"}
"""What happens to objects; buckets are spared."""

KINDS: Mapping[str, frozenset[str]] = {
    "latency": DYNAMODB | S3,
    "reset_before": DYNAMODB | S3,
    "reset_after": DYNAMODB | S3,
    "cut": DYNAMODB | READS,
    "truncated": DYNAMODB,
    "corrupted": DYNAMODB,
    "wrong_crc": DYNAMODB,
    "error_500": DYNAMODB,
    "error_503": DYNAMODB,
    "throttling": DYNAMODB,
    "provisioned_throughput": DYNAMODB,
    "request_limit": DYNAMODB,
    "unprocessed": frozenset({"BatchWriteItem"}),
    "slow_down": S3,
    "internal_error": S3,
    "reset_upload": UPLOADS,
    "bad_digest": UPLOADS,
    "error_in_200": frozenset({"CompleteMultipartUpload"}),
    "no_such_upload": frozenset({"UploadPart", "CompleteMultipartUpload"}),
    "expired_token": DYNAMODB | S3,
    "unrecognized_client": DYNAMODB | S3,
}
"""Every kind of fault, and the operations that it may befall.

latency               a pause of at most `Schedule.longest_pause`; any other fault may come on top
reset_before          the connection is reset; the upstream never saw the request
reset_after           the upstream did the work, the reply is lost in a reset
cut                   the connection ends within the body
truncated             a shorter body under a Content-Length that fits it: only the CRC32 tells
corrupted             one byte of the body is another, under the CRC32 of the right one
wrong_crc             the right body under another CRC32
error_500             InternalServerError; half of the time the upstream has done the work
error_503             a balancer's 503: neither JSON nor a CRC32
throttling, provisioned_throughput, request_limit
                      ThrottlingException, ProvisionedThroughputExceededException (both with reasons),
                      RequestLimitExceeded
unprocessed           some puts of a batch (never all) are not forwarded and come back in UnprocessedItems
slow_down             503 SlowDown
internal_error        500 InternalError
reset_upload          the connection is reset when a part of the body has come; the upstream never saw it
bad_digest            400 BadDigest, as for a body that was spoilt on its way
error_in_200          status 200 with InternalError in the body; the upload stays open
no_such_upload        the upload is aborted upstream, and this request the first to learn it: once for every key
expired_token         ExpiredTokenException (S3: ExpiredToken)
unrecognized_client   UnrecognizedClientException (S3: InvalidAccessKeyId)
"""

NEEDS_OTHER_KEYS = frozenset({"expired_token", "unrecognized_client"})
"""Left out of the presets: a job whose keys are fixed can't but fail of them."""


def preset(rate: float, latency: float) -> dict[str, float]:
    """The same rate for every kind but latency and those that need other keys."""
    rates = dict.fromkeys(KINDS.keys() - NEEDS_OTHER_KEYS, rate)
    return {**rates, "latency": latency}


PRESETS: Mapping[str, Mapping[str, float]] = {"none": {}, "light": preset(0.003, 0.05), "heavy": preset(0.02, 0.2)}
"""About 4% of all Scans fail under `light`, about a quarter under `heavy`."""


class Decision(NamedTuple):
    """What happens to one request: a kind of fault or none, after a pause in seconds.

    `point`, from 0 to below 1, settles what else there is to choose, such as where to cut.
    """

    fault: str | None = None
    pause: float = 0.0
    point: float = 0.0


class Schedule:
    """Decides by `seed` and `rates`: kind of fault to probability, those left out never happen.

    Raises ValueError for an unknown kind, and where the rates of one operation come to more than 1.
    """

    def __init__(self, seed: int, rates: Mapping[str, float], longest_pause: float = 0.05) -> None:
        if unknown := rates.keys() - KINDS.keys():
            raise ValueError(f"unknown kind of fault: {', '.join(sorted(unknown))}")
        if any(not 0 <= rate <= 1 for rate in rates.values()):
            raise ValueError("a rate is a probability, from 0 to 1")
        self.seed = seed
        self.rates = dict(rates)
        self.longest_pause = longest_pause
        self._by_operation = {operation: self._rates_of(operation) for operation in DYNAMODB | S3}

    def _rates_of(self, operation: str) -> dict[str, float]:
        kinds = (kind for kind, operations in KINDS.items() if kind != "latency" and operation in operations)
        rates = {kind: self.rates.get(kind, 0.0) for kind in kinds}
        if sum(rates.values()) > 1 + 1e-9:
            raise ValueError(f"the rates of {operation} come to more than 1")
        return rates

    def decide(self, operation: str, number: int) -> Decision:
        """The fate of request `number` of this operation; always the same for the same seed and rates."""
        rates = self._by_operation.get(operation)
        if rates is None:
            return Decision()
        rng = Random(f"{self.seed} {operation} {number}")
        roll, point, slow, length = (rng.random() for _ in range(4))
        pause = length * self.longest_pause if slow < self.rates.get("latency", 0.0) else 0.0
        return Decision(_pick(rates, roll), pause, point)


def _pick(rates: Mapping[str, float], roll: float) -> str | None:
    for kind, rate in rates.items():
        if roll < rate:
            return kind
        roll -= rate
    return None
